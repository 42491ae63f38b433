import ipaddress
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import aiortc
from aiortc.exceptions import OperationError
from aiortc.sdp import MediaDescription, SessionDescription, candidate_to_sdp

from .sections import bundled_mids, is_username

MAX_HELD = 100
"How many candidates may wait for their description. The oldest makes room for another."

MAX_RETIRED = 64
"How many generations of the peer's are remembered after their end."

HOLDING_TIME = 30.0
"""
How long, in seconds, a candidate waits for its description. What comes later than that
is of no use to a restart, which has a deadline.
"""

MAX_SIZE = 1024
"How many characters the parts of a candidate may have."


@dataclass
class Place:
    """
    Where a candidate belongs: an m-section of the remote description, and a generation.
    """

    mid: str
    sections: list[MediaDescription]
    "What the descriptions of that generation say of the m-section, the latest first."

    decides: bool
    """
    Whether the transport takes candidates from the m-section: from a bundled one only
    if it is the BUNDLE-tag.
    """

    named: bool
    "Whether the generation was named, and is not just the latest one."

    restarts: bool
    "Whether the generation is that of a restart which has not been answered."


class HeldCandidates:
    """
    The peer's candidates which name an ICE generation, and whose description has not
    come yet, as signaling may reorder them.
    """

    def __init__(self) -> None:
        self._held: deque[tuple[float, str, aiortc.RTCIceCandidate]] = deque()
        self._retired: deque[tuple[str, str]] = deque(maxlen=MAX_RETIRED)

    def __len__(self) -> int:
        return len(self._held)

    def clear(self) -> None:
        self._held.clear()

    def hold(
        self, username: str, candidate: aiortc.RTCIceCandidate, now: float
    ) -> None:
        """
        Hold a candidate.

        :param username: The username fragment which it names.
        :param now: The time in seconds.
        """
        self.expire(now)
        if len(self._held) == MAX_HELD:
            self._held.popleft()
        self._held.append((now, username, candidate))

    def expire(self, now: float) -> None:
        """
        Drop what has been held for too long.
        """
        while self._held and self._held[0][0] + HOLDING_TIME <= now:
            self._held.popleft()

    def is_retired(self, username: str, mid: str | None) -> bool:
        """
        Whether a generation has been negotiated, and is not in force any more.

        :param mid: The m-section, or `None` for any.
        """
        return any(x == username and mid in (y, None) for x, y in self._retired)

    def release(
        self, wanted: Callable[[aiortc.RTCIceCandidate, str], bool], now: float
    ) -> list[aiortc.RTCIceCandidate]:
        """
        Return what is not to be held any longer, in the order in which it came.

        :param wanted: Whether there is a description of a candidate, which is given
                       with the username fragment that it names.
        """
        self.expire(now)
        released = [x for x in self._held if wanted(x[2], x[1])]
        self._held = deque(x for x in self._held if x not in released)
        # An end may have overtaken what it is the end of.
        return sorted((x for _, _, x in released), key=lambda x: not x.ip)

    def retire(self, generations: set[tuple[str, str]]) -> None:
        """
        Take note that generations have been replaced by others.

        :param generations: Their username fragments, each with the mid of an m-section.
        """
        self._retired.extend(sorted(x for x in generations if x not in self._retired))


def addresses(
    description: SessionDescription | None, mids: Sequence[str]
) -> set[tuple[str, int]]:
    """
    Return where the candidates of some m-sections are.
    """
    if description is None:
        return set()
    return {
        (x.ip, x.port)
        for media in description.media
        if media.rtp.muxId in mids
        for x in media.ice_candidates
    }


def belongs(
    candidate: aiortc.RTCIceCandidate,
    username: str,
    descriptions: Sequence[SessionDescription],
) -> bool:
    """
    Whether the remote descriptions have a candidate's generation and its m-section.

    :param username: The username fragment which it names.
    :param descriptions: The remote descriptions in force, the pending one first.
    """
    known = generations(descriptions)
    if not is_named(candidate):
        return username in {x for x, _ in known}
    return (username, mid_of(candidate, descriptions)) in known


def check_addressed(
    candidate: aiortc.RTCIceCandidate | None,
    descriptions: Sequence[SessionDescription],
) -> None:
    """
    Check that there is a place for a candidate, or that it can be held for one.

    :param descriptions: The remote descriptions, the pending one first.

    :raises OperationError: if the first description has no such m-section and the
                            candidate names no generation, or one that cannot be.
    :raises ValueError: if it is no candidate's size.
    """
    if candidate is None:
        return
    username = getattr(candidate, "usernameFragment", None)
    if username is not None and not belongs(candidate, username, descriptions):
        check_holdable(candidate, username)
        return
    check_size(candidate)
    if descriptions and is_named(candidate):
        section_of(candidate, descriptions[0])


def check_holdable(candidate: aiortc.RTCIceCandidate, username: str) -> None:
    """
    Check that a description may come to which a candidate belongs.

    :param username: The username fragment which it names.

    :raises OperationError: if that is none, or the candidate is no candidate's size.
    """
    if not is_username(username) or size(candidate) > MAX_SIZE:
        raise OperationError(
            f'Cannot add a candidate of ICE generation "{username[:256]}": there can '
            "be no such generation, or no such candidate"
        )


def check_size(candidate: aiortc.RTCIceCandidate) -> None:
    """
    Check that a candidate can be shown in a description.

    :raises ValueError: if it is over the limit, or is no text that can be sent.
    """
    if size(candidate) > MAX_SIZE:
        raise ValueError(
            f"There are {size(candidate)} characters in a candidate, of at most "
            f"{MAX_SIZE}"
        )
    try:
        candidate_to_sdp(candidate).encode()
    except UnicodeEncodeError:
        raise ValueError("A candidate has half of a surrogate pair") from None


def size(candidate: aiortc.RTCIceCandidate) -> int:
    return sum(len(x) for x in vars(candidate).values() if isinstance(x, str))


def generations(descriptions: Sequence[SessionDescription]) -> set[tuple[str, str]]:
    """
    Return the username fragments in some descriptions, each with its m-section's mid.
    """
    return {
        (name, media.rtp.muxId)
        for description in descriptions
        for index, media in enumerate(description.media)
        if (name := _username(description, index)) is not None
    }


def mid_of(
    candidate: aiortc.RTCIceCandidate, descriptions: Sequence[SessionDescription]
) -> str | None:
    """
    Return the mid of a candidate's m-section, or `None` if no description has it.

    :param descriptions: The remote descriptions in force, the pending one first.
    """
    index = _find_section(candidate, descriptions[0]) if descriptions else None
    return None if index is None else descriptions[0].media[index].rtp.muxId


def check_named(candidate: aiortc.RTCIceCandidate) -> None:
    """
    Check that a candidate says which m-section it is of.

    :raises ValueError: if it does not.
    """
    if not is_named(candidate):
        raise ValueError("Candidate must have either sdpMid or sdpMLineIndex")


@lru_cache
def is_address(host: str) -> bool:
    """
    Whether a host is an IP address, and no name.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_named(candidate: aiortc.RTCIceCandidate) -> bool:
    return candidate.sdpMid is not None or candidate.sdpMLineIndex is not None


def latest_places(descriptions: Sequence[SessionDescription]) -> list[Place]:
    """
    Return the places of what is of no m-section in particular, and of the latest
    generation.

    :param descriptions: The remote descriptions in force, the pending one first.
    """
    return [
        _place(descriptions, index, None) for index in range(len(descriptions[0].media))
    ]


def place_of(
    candidate: aiortc.RTCIceCandidate,
    index: int,
    descriptions: Sequence[SessionDescription],
) -> Place:
    """
    Return the place of a candidate, which :func:`belongs` to the descriptions if it
    names a generation.

    :param index: Which m-section it is of: :func:`section_of`.
    :param descriptions: The remote descriptions in force, the pending one first.
    """
    return _place(descriptions, index, getattr(candidate, "usernameFragment", None))


def named_candidates(media: MediaDescription) -> list[aiortc.RTCIceCandidate]:
    """
    Return the candidates of an m-section which have a name in place of an address.
    """
    return [x for x in media.ice_candidates if not is_address(x.ip)]


def record(place: Place, candidate: aiortc.RTCIceCandidate, limit: int) -> bool:
    """
    Add a candidate to the descriptions of its generation.

    :param limit: How many candidates an m-section may have.
    :return: Whether it was in none of them, and there was room for it.
    """
    lacking = [
        x
        for x in place.sections
        if _socket(candidate) not in map(_socket, x.ice_candidates)
    ]
    open_sections = [x for x in lacking if len(x.ice_candidates) < limit]
    for media in open_sections:
        media.ice_candidates.append(candidate)
    return bool(open_sections) and len(lacking) == len(place.sections)


def record_end(place: Place) -> None:
    """
    Say in the descriptions of a generation that its candidates have ended.
    """
    for media in place.sections:
        media.ice_candidates_complete = True


def section_of(
    candidate: aiortc.RTCIceCandidate, description: SessionDescription
) -> int:
    """
    Return the index of a candidate's m-section.

    :raises OperationError: if the description has no such m-section.
    """
    index = _find_section(candidate, description)
    if index is None:
        raise OperationError(
            f'Cannot add a candidate of media section "{candidate.sdpMid}" with index '
            f"{candidate.sdpMLineIndex}: the remote description has none"
        )
    return index


def _bundle_tag(description: SessionDescription, mid: str) -> str:
    """
    Return the BUNDLE-tag of an m-section, which is its own one if it is not bundled.
    """
    bundled = bundled_mids(description)
    if mid not in bundled:
        return mid
    mids = {x.rtp.muxId for x in description.media}
    return next((x for x in bundled if x in mids), mid)


def _find_section(
    candidate: aiortc.RTCIceCandidate, description: SessionDescription
) -> int | None:
    for index, media in enumerate(description.media):
        if candidate.sdpMid == media.rtp.muxId or (
            candidate.sdpMid is None and candidate.sdpMLineIndex == index
        ):
            return index
    return None


def _place(
    descriptions: Sequence[SessionDescription], index: int, username: str | None
) -> Place:
    mid = descriptions[0].media[index].rtp.muxId
    said = [
        (_username(x, index), x.media[index])
        for x in descriptions
        if index < len(x.media)
    ]
    latest, oldest = said[0][0], said[-1][0]
    wanted = latest if username is None else username
    return Place(
        mid=mid,
        sections=[media for name, media in said if name == wanted],
        decides=_bundle_tag(descriptions[0], mid) == mid,
        named=username is not None,
        restarts=wanted != oldest,
    )


def _socket(candidate: aiortc.RTCIceCandidate) -> tuple[str, int, str, str]:
    return candidate.ip, candidate.port, candidate.protocol, candidate.type


def _username(description: SessionDescription, index: int) -> str | None:
    """
    Return the username fragment of an m-section, which may be missing in a bundled one
    (RFC 9429 section 3.5.1).
    """
    media = description.media[index]
    if media.ice is not None and media.ice.usernameFragment:
        return media.ice.usernameFragment
    tag = _bundle_tag(description, media.rtp.muxId)
    for other in description.media:
        if other.rtp.muxId == tag and other.ice is not None:
            return other.ice.usernameFragment
    return None
