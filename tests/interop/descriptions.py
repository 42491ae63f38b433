"""
What the descriptions of a session say, in a form which can be compared.
"""

import re
from dataclasses import dataclass

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import SessionDescription


@dataclass(frozen=True)
class Description:
    """
    A :class:`Description` is one step of a session's negotiation.
    """

    sender: str
    "Possible values: `local`, `remote`."
    type: str
    sdp: str

    @property
    def codecs(self) -> list[dict[int, str]]:
        """
        For each m-section, what its payload types mean, in their order.
        """
        return [
            {
                codec.payloadType: meaning(codec)
                for codec in media.rtp.codecs
                if codec.payloadType is not None
            }
            for media in SessionDescription.parse(self.sdp).media
        ]

    @property
    def extensions(self) -> list[dict[int, str]]:
        """
        For each m-section, what the ids of its header extensions mean.
        """
        return [
            {extension.id: extension.uri for extension in media.rtp.headerExtensions}
            for media in SessionDescription.parse(self.sdp).media
        ]

    @property
    def fingerprints(self) -> set[str]:
        return set(re.findall(r"^a=fingerprint:(.*?)\r?$", self.sdp, re.MULTILINE))

    @property
    def ports(self) -> set[int]:
        """
        The ports of the candidates.
        """
        pattern = r"^a=candidate:\S+ \d+ \S+ \d+ \S+ (\d+) "
        return {int(port) for port in re.findall(pattern, self.sdp, re.MULTILINE)}

    @property
    def sections(self) -> list[tuple[str, str]]:
        """
        The kind and the mid of each m-section, in their order.
        """
        return [
            (media.kind, media.rtp.muxId)
            for media in SessionDescription.parse(self.sdp).media
        ]

    @property
    def ufrag(self) -> str:
        """
        The username fragment of the bundle.
        """
        match = re.search(r"^a=ice-ufrag:(\S+)", self.sdp, re.MULTILINE)
        assert match is not None
        return match[1]


def meaning(codec: RTCRtpCodecParameters) -> str:
    """
    Return what makes a codec another one, apart from its number.
    """
    names = ("apt", "packetization-mode", "profile-level-id", "profile-id")
    chosen = [f"{n}={codec.parameters[n]}" for n in names if n in codec.parameters]
    return " ".join([f"{codec.mimeType.lower()}/{codec.clockRate}", *chosen])


def assert_numbers_kept(descriptions: list[Description]) -> None:
    """
    Assert that each of our descriptions keeps what was negotiated before it: m-sections
    and mids, payload types, the codecs' order and the ids of header extensions
    (RFC 9429 section 5.2.2).
    """
    codecs: list[dict[int, str]] = [{} for _ in descriptions[0].sections]
    extensions: dict[int, str] = {}
    negotiated: Description | None = None
    for description in descriptions:
        assert description.sections == descriptions[0].sections
        if description.sender == "local":
            assert_no_other_meaning(codecs, description.codecs)
            assert_no_other_meaning([extensions] * 3, description.extensions)
            if negotiated is not None:
                assert_order_kept(negotiated.codecs, description.codecs)
                for before, after in zip(
                    negotiated.extensions, description.extensions, strict=True
                ):
                    assert before.items() <= after.items()
        for known, section in zip(codecs, description.codecs, strict=True):
            known.update(section)
        # The m-sections of a bundle share the ids.
        for section in description.extensions:
            extensions.update(section)
        if description.type == "answer":
            negotiated = description


def assert_no_other_meaning(
    before: list[dict[int, str]], after: list[dict[int, str]]
) -> None:
    """
    Assert that no number is used for something else than before.
    """
    for known, section in zip(before, after, strict=True):
        other = {n: m for n, m in section.items() if known.get(n, m) != m}
        assert not other, f"{other} used to be {known}"


def assert_order_kept(
    before: list[dict[int, str]], after: list[dict[int, str]]
) -> None:
    """
    Assert that what was negotiated is all there, in its order.
    """
    for negotiated, section in zip(before, after, strict=True):
        assert [n for n in section if n in negotiated] == list(negotiated)
