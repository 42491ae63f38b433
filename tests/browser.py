"""
A peer that numbers codecs and header extensions as a browser does, and refuses what a
browser refuses.
"""

from typing import Any
from unittest import mock

from aiortc import RTCSessionDescription
from aiortc.codecs import CODECS, HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)
from aiortc.sdp import SessionDescription

from aiortc_restart import RTCPeerConnection

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
SEQUENCE = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
OFFSET = "urn:ietf:params:rtp-hdrext:toffset"


def _audio(number: int, name: str, rate: int, channels: int = 1) -> Any:
    return RTCRtpCodecParameters(
        mimeType=f"audio/{name}", clockRate=rate, channels=channels, payloadType=number
    )


def _video(number: int, name: str, **parameters: Any) -> list[Any]:
    feedback = [("goog-remb", None), ("nack", None), ("nack", "pli")]
    codec = RTCRtpCodecParameters(
        mimeType=f"video/{name}",
        clockRate=90000,
        payloadType=number,
        rtcpFeedback=[RTCRtcpFeedback(type=x, parameter=y) for x, y in feedback],
        parameters={x.replace("_", "-"): y for x, y in parameters.items()},
    )
    retransmission = RTCRtpCodecParameters(
        mimeType="video/rtx",
        clockRate=90000,
        payloadType=number + 1,
        parameters={"apt": number},
    )
    return [codec, retransmission]


def _h264(number: int, profile: str) -> list[Any]:
    return _video(
        number,
        "H264",
        level_asymmetry_allowed="1",
        packetization_mode="1",
        profile_level_id=profile,
    )


def _extensions(uris: dict[int, str]) -> list[Any]:
    return [RTCRtpHeaderExtensionParameters(id=x, uri=y) for x, y in uris.items()]


BROWSER_CODECS = {
    # 96 to 98 are other codecs than aiortc's, and some are unknown to it.
    "audio": [
        _audio(98, "red", 48000, 2),
        _audio(0, "PCMU", 8000),
        _audio(111, "opus", 48000, 2),
        _audio(8, "PCMA", 8000),
        _audio(110, "telephone-event", 48000),
    ],
    "video": [
        *_video(99, "AV1"),
        *_h264(103, "42e01f"),
        *_video(96, "VP8"),
        *_video(45, "VP9", profile_id="0"),
    ],
}

BROWSER_EXTENSIONS = {
    "audio": _extensions({1: LEVEL, 2: SEQUENCE, 4: MID}),
    "video": _extensions({3: OFFSET, 5: SEND_TIME, 4: MID, 2: SEQUENCE}),
}


class Browser(RTCPeerConnection):
    """
    A peer whose own numbers, order, codecs and header extensions are a browser's.
    """

    async def createOffer(self, iceRestart: bool = False) -> RTCSessionDescription:
        # Nothing in it waits, so that nobody else sees the numbers.
        with (
            mock.patch.dict(CODECS, BROWSER_CODECS),
            mock.patch.dict(HEADER_EXTENSIONS, BROWSER_EXTENSIONS),
        ):
            return await super().createOffer(iceRestart=iceRestart)


class Session:
    """
    The descriptions of a session, all of which are bundled, from both sides.
    """

    def __init__(self) -> None:
        self.codecs: dict[int, str] = {}
        "What each payload type means."

        self.extensions: dict[int, str] = {}
        "What each header-extension id means."

        self.mids: list[tuple[str, str]] = []
        "Kind and mid of each m-section."

    def add(self, *descriptions: RTCSessionDescription) -> None:
        """
        Take note of descriptions, unless one gives a number another meaning, or a
        section another place (RFC 3264 sections 8 and 8.3.2, RFC 9143 section 9).
        """
        for description in descriptions:
            media = SessionDescription.parse(description.sdp).media
            mids = [(x.kind, x.rtp.muxId) for x in media]
            assert mids[: len(self.mids)] == self.mids
            self.mids = mids
            for section in media:
                for codec in section.rtp.codecs:
                    assert codec.payloadType is not None
                    self._add(self.codecs, codec.payloadType, meaning(codec))
                uris = [x.uri for x in section.rtp.headerExtensions]
                assert len(uris) == len(set(uris))
                for extension in section.rtp.headerExtensions:
                    self._add(self.extensions, extension.id, extension.uri)
            assert len(set(self.extensions.values())) == len(self.extensions)

    def _add(self, known: dict[int, str], number: int, value: str) -> None:
        assert known.setdefault(number, value) == value, f"{number} is {known[number]}"


def meaning(codec: RTCRtpCodecParameters) -> str:
    """
    Return what makes a codec another one, apart from its number.
    """
    names = ("apt", "packetization-mode", "profile-level-id", "profile-id")
    chosen = [f"{x}={codec.parameters[x]}" for x in names if x in codec.parameters]
    return " ".join([f"{codec.mimeType.lower()}/{codec.clockRate}", *chosen])
