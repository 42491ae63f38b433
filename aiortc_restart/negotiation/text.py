"""
Descriptions as text: the only place where text becomes a description, or a description
becomes text.

A parsed description is well formed, and no more: whether it can be applied depends on
more than its text.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import aiortc
from aiortc.sdp import MediaDescription, SessionDescription, candidate_to_sdp

from .._secrets import reason, showable
from . import limits
from .readable import Part, split
from .sections import is_data, is_ended, is_media

NO_ORIGIN = "- 0 0 IN IP4 0.0.0.0"
"The o= line of a description that has none."


# The text has passwords, which nothing is to log.
@dataclass(repr=False)
class ReceivedPart:
    """
    The session part of a description, or an m-section, as it was received.
    """

    text: str
    "The lines, but for candidates and their end, to which others may be added."

    rest: str
    "Those of the lines which come behind the candidates."

    candidates: dict[str, str]
    "The candidates with extensions, by what aiortc shows of them."


class ParsedDescription(SessionDescription):
    """
    A description that was made of text, or that text is made of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.received: list[ReceivedPart] = []
        """
        The session part and the m-sections of a remote description. It is empty for a
        local one, which is shown as its fields are, because these change.
        """
        self.unnamed: frozenset[int] = frozenset()
        "The indices of the m-sections which have no a=mid line."

    def __str__(self) -> str:
        # aiortc makes text of descriptions in this way.
        return show(self)


def name_sections(description: SessionDescription, mids: Sequence[str] = ()) -> None:
    """
    Give m-sections which have no a=mid line a mid: the one that their place has
    already, or else the first number which no other m-section has. A number which a
    group names is left out, because no m-section without mid is in a group.

    :param mids: The mids of the offer, for an answer, or of the description before.
    """
    if not isinstance(description, ParsedDescription) or not description.unnamed:
        return
    unnamed = description.unnamed
    sections = description.media
    taken = {x.rtp.muxId for i, x in enumerate(sections) if i not in unnamed}
    places = {i: mids[i] for i in unnamed if i < len(mids) and mids[i] not in taken}
    taken.update(places.values())
    taken.update(str(x) for group in description.group for x in group.items)
    numbers = (x for x in map(str, range(len(sections) + len(taken))) if x not in taken)
    for index in sorted(unnamed):
        sections[index].rtp.muxId = places.get(index) or next(numbers)


def parse(
    description: aiortc.RTCSessionDescription, remote: bool = True
) -> ParsedDescription:
    """
    Parse a description.

    :param remote: Whether :func:`show` is to return the lines that were received, in
                   place of what the fields say.

    :raises ValueError: if it is over a limit, or cannot be parsed.
    """
    limits.check_description(description.sdp)
    try:
        session, sections = split(description.sdp)
        parsed = _parsed(session, sections)
    except Exception as exc:
        raise ValueError(
            f"Cannot parse the {description.type}: {reason(exc)}"
        ) from showable(exc)
    parsed.type = description.type
    parsed.origin = parsed.origin or NO_ORIGIN
    parsed.unnamed = frozenset(i for i, x in enumerate(sections) if x.mid is None)
    name_sections(parsed)
    if remote:
        parsed.received = [_received(x) for x in (session, *sections)]
    return parsed


def show(description: SessionDescription) -> str:
    """
    Return the text of a description: of a remote one the lines that were received, and
    the candidates which have been added, of a local one what its fields say.
    """
    if isinstance(description, ParsedDescription) and description.received:
        received, *parts = description.received
        shown = map(_received_section, description.media, parts)
        return received.text + received.rest + "".join(shown)
    session = copy.copy(description)
    session.media = []
    lite = any(x.ice is not None and x.ice.iceLite for x in description.media)
    return "".join(
        [
            SessionDescription.__str__(session),
            "a=ice-lite\r\n" if lite else "",
            *map(_local_section, description.media),
        ]
    )


def _bundled_mids(session: Part) -> list[str]:
    for line in session.readable:
        if line.startswith("a=group:"):
            semantic, *mids = line.removeprefix("a=group:").split() or [""]
            if semantic == "BUNDLE":
                return mids
    return []


def _local_section(media: MediaDescription) -> str:
    """
    Return the text of an m-section. aiortc shows that RTCP is multiplexed only where
    there is an a=rtcp line, and an m= line without the format that there has to be.
    """
    text = str(media)
    if media.rtcp_mux and media.rtcp_port is None:
        text += "a=rtcp-mux\r\n"
    if is_ended(media):
        text += "a=x-ended\r\n"
    if not media.fmt:
        m_line, _, lines = text.partition("\r\n")
        text = f"{m_line.rstrip()} 0\r\n{lines}"
    return text


def _parsed(session: Part, sections: list[Part]) -> ParsedDescription:
    """
    Have aiortc parse what it can read, and add the rest.

    An m-section which is rejected, or is neither for media nor for data channels, may
    say anything: if it cannot be parsed, only kind, port, protocol, formats and mid are
    read (RFC 9429 section 5.10).
    """
    bundled = {*_bundled_mids(session)}
    used = [
        (is_data(x) or is_media(x)) and (x.port > 0 or x.mid in bundled)
        for x in sections
    ]
    try:
        parsed = _parsed_by_aiortc([session.readable, *(x.readable for x in sections)])
    except Exception:
        if all(used):
            raise
        parsed = None
    # The second attempt is outside the handler, so that its error has no context: that
    # may show secrets.
    if parsed is None:
        parts = (
            x.readable if y else x.bare() for x, y in zip(sections, used, strict=True)
        )
        parsed = _parsed_by_aiortc([session.readable, *parts])
    for media, section, is_used in zip(parsed.media, sections, used, strict=True):
        section.complete_section(media, is_used)
    return parsed


def _parsed_by_aiortc(parts: list[list[str]]) -> ParsedDescription:
    parsed = ParsedDescription.parse("\n".join(["\n".join(x) for x in parts]))
    assert isinstance(parsed, ParsedDescription)
    return parsed


def _received(part: Part) -> ReceivedPart:
    candidates = {candidate_to_sdp(x): value for x, value in part.candidates}
    lines = [f"{x}\r\n" for x in part.received]
    place = len(lines) if part.candidates_place is None else part.candidates_place
    return ReceivedPart("".join(lines[:place]), "".join(lines[place:]), candidates)


def _received_section(media: MediaDescription, part: ReceivedPart) -> str:
    lines = [part.text]
    for candidate in media.ice_candidates:
        shown = candidate_to_sdp(candidate)
        value = part.candidates.get(shown)
        if value is None:
            # RFC 8839 section 5.1
            username = getattr(candidate, "usernameFragment", None)
            value = f"{shown} ufrag {username}" if username else shown
        lines.append(f"a=candidate:{value}\r\n")
    if media.ice_candidates_complete:
        lines.append("a=end-of-candidates\r\n")
    return "".join([*lines, part.rest])
