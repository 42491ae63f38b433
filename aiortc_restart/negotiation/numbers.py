import copy
from collections.abc import Container

from aiortc.codecs import is_rtx
from aiortc.rtcpeerconnection import is_codec_compatible
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)
from aiortc.rtp import DYNAMIC_PAYLOAD_TYPES
from aiortc.sdp import SessionDescription

# 15 means "stop" in the one-byte format (RFC 8285 section 4.2).
EXTENSION_IDS = range(1, 15)

# The second range is for when the first is used up (RFC 5761 section 4, RFC 3551
# section 6).
PAYLOAD_TYPES = (*range(96, 128), *range(35, 64))


class MediaNumbers:
    """
    The payload types and header-extension ids which a session has given a meaning.

    A meaning never changes while the session lasts (RFC 3264 section 8.3.2, RFC 8285
    section 6), and is the same in all bundled sections (RFC 9143 section 9).
    """

    def __init__(self) -> None:
        self._codecs: dict[int, RTCRtpCodecParameters] = {}
        self._extensions: dict[int, str] = {}

    def copy(self) -> "MediaNumbers":
        other = MediaNumbers()
        other._codecs = self._codecs.copy()
        other._extensions = self._extensions.copy()
        return other

    def learned(
        self, description: SessionDescription, rejected: Container[str] = ()
    ) -> "MediaNumbers":
        """
        Return the numbers after a description, local or remote.

        :param rejected: The mids of m-sections which say nothing.
        """
        other = self.copy()
        codecs, extensions = other._codecs, other._extensions  # noqa: SLF001
        for media in description.media:
            if media.rtp.muxId in rejected:
                continue
            for codec in media.rtp.codecs:
                number = codec.payloadType
                if number is not None and number in PAYLOAD_TYPES:
                    codecs[number] = codec
            for extension in media.rtp.headerExtensions:
                # RFC 8285 section 4.3
                if 0 < extension.id < 256:
                    extensions[extension.id] = extension.uri
        return other

    def number_codecs(
        self,
        available: list[RTCRtpCodecParameters],
        negotiated: list[RTCRtpCodecParameters],
        keep_order: bool,
    ) -> list[RTCRtpCodecParameters]:
        """
        Number the codecs of an m-section for an offer.

        :param available: All codecs to offer, under the numbers that they have of old.
        :param negotiated: Those which were negotiated for this section.
        :param keep_order: Whether the negotiated ones come first, in their order (RFC
                           9429 section 5.2.2), or all in the order of preference.
        """
        numbers: dict[int | None, int | None] = {}
        rest, renumbered = [], []
        for codec in available:
            apt = codec.parameters.get("apt") if is_rtx(codec) else None
            base = numbers.get(apt) if isinstance(apt, int) else None
            known = next((x for x in negotiated if _same(x, codec, base)), None)
            if known is None:
                known = copy.deepcopy(codec)
                if base is not None:
                    known.parameters["apt"] = base
                known.payloadType = self._payload_type(known)
                if known.payloadType is None or (is_rtx(codec) and base is None):
                    # The peer has used up all numbers: this one is not offered.
                    continue
                rest.append(known)
            numbers[codec.payloadType] = known.payloadType
            renumbered.append(known)
        if not keep_order:
            return renumbered
        return [x for x in negotiated if x in renumbered] + rest

    def number_extensions(
        self, available: list[RTCRtpHeaderExtensionParameters]
    ) -> list[RTCRtpHeaderExtensionParameters]:
        """
        Number the header extensions of an m-section which is new to the session.
        """
        numbered = [(self._extension_id(x), x.uri) for x in available]
        return [
            RTCRtpHeaderExtensionParameters(id=number, uri=uri)
            for number, uri in numbered
            if number is not None
        ]

    def _extension_id(self, extension: RTCRtpHeaderExtensionParameters) -> int | None:
        for number, uri in self._extensions.items():
            if uri == extension.uri:
                return number
        free = _first_free([extension.id, *EXTENSION_IDS], self._extensions)
        if free is not None:
            self._extensions[free] = extension.uri
        return free

    def _payload_type(self, codec: RTCRtpCodecParameters) -> int | None:
        wanted = codec.payloadType
        assert wanted is not None
        if wanted not in DYNAMIC_PAYLOAD_TYPES:
            return wanted
        apt = codec.parameters.get("apt")
        for number, known in self._codecs.items():
            if _same(known, codec, apt if isinstance(apt, int) else None):
                return number
        free = _first_free([wanted, *PAYLOAD_TYPES], self._codecs)
        if free is not None:
            self._codecs[free] = codec
        return free


def _first_free(wanted: list[int], taken: Container[int]) -> int | None:
    return next((x for x in wanted if x not in taken), None)


def _same(
    known: RTCRtpCodecParameters, codec: RTCRtpCodecParameters, apt: int | None
) -> bool:
    if is_rtx(known) or is_rtx(codec):
        return is_rtx(known) and is_rtx(codec) and known.parameters.get("apt") == apt
    return is_codec_compatible(known, codec)
