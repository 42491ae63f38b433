"""
The formats of m-sections for media: payload types, and the codecs which they stand for,
as far as aiortc's parser does not read them.
"""

import contextlib
from collections.abc import Iterable

from aiortc.rtcrtpparameters import (
    ParametersDict,
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
)
from aiortc.rtp import FORBIDDEN_PAYLOAD_TYPES
from aiortc.sdp import FMTP_INT_PARAMETERS

from . import check

STATIC = {
    "audio": """
        0:PCMU/8000 3:GSM/8000 4:G723/8000 5:DVI4/8000 6:DVI4/16000 7:LPC/8000
        8:PCMA/8000 9:G722/8000 10:L16/44100/2 11:L16/44100 12:QCELP/8000 13:CN/8000
        14:MPA/90000 15:G728/8000 16:DVI4/11025 17:DVI4/22050 18:G729/8000
    """,
    "video": """
        25:CelB/90000 26:JPEG/90000 28:nv/90000 31:H261/90000 32:MPV/90000 33:MP2T/90000
        34:H263/90000
    """,
}
"The codecs whose payload types need no a=rtpmap line (RFC 3551 section 6)."


def complete(
    kind: str,
    types: list[int] | list[str],
    codecs: Iterable[RTCRtpCodecParameters],
    parameters: list[str],
    feedback: list[str],
) -> list[RTCRtpCodecParameters]:
    """
    Complete the codecs of an m-section: with those that need no a=rtpmap line, with
    parameters, and with feedback. What is for other codecs says nothing.

    :param types: The formats of the m= line, which say which codecs are preferred (RFC
                  3264 section 5.1).
    :param codecs: Those of the a=rtpmap lines. Of those with one payload type the first
                   counts: aiortc would offer the others again, each with the feedback
                   of all.
    :param parameters: The values of the a=fmtp lines.
    :param feedback: The values of the a=rtcp-fb lines.
    """
    found: dict[str, RTCRtpCodecParameters] = {}
    for codec in codecs:
        if codec.payloadType in check.PAYLOAD_TYPES:
            found.setdefault(str(codec.payloadType), codec)
    found = _with_static(kind, map(str, types), found)
    for value in parameters:
        number, _, text = value.partition(" ")
        number = number.lstrip("0") or "0"
        if number in found:
            found[number].parameters.update(read_parameters(text))
    # A line for all codecs that came twice would be multiplied with them twice.
    for value in dict.fromkeys(feedback):
        number, *words = value.split(None, 2)
        number = number.lstrip("0") or "0"
        if words and (number == "*" or number in found):
            for codec in found.values() if number == "*" else [found[number]]:
                codec.rtcpFeedback.append(RTCRtcpFeedback(*words))
    return [*found.values()]


def payload_types(formats: list[str], used: bool) -> list[int] | list[str]:
    """
    Return the formats of an m-section as numbers.

    :param used: Whether they must be payload types.

    :raises ValueError: if they must, and are not.
    """
    try:
        numbers = [int(x) for x in formats]
    except ValueError:
        if used:
            raise
        return [*formats]
    for number in numbers:
        if used and (not 0 <= number < 256 or number in FORBIDDEN_PAYLOAD_TYPES):
            raise ValueError(f"{number} is not a payload type")
    return numbers


def read_parameters(text: str) -> ParametersDict:
    """
    Read the parameters of a codec. What is a number elsewhere may be a word. A
    packetization mode without value, which aiortc cannot compare, is the default one
    (RFC 6184 section 8.1).
    """
    parameters: ParametersDict = {}
    for item in text.split(";"):
        name, equals, value = item.partition("=")
        name, value = name.strip(), value.strip()
        if name == "packetization-mode" and not value:
            continue
        if equals:
            parameters[name] = value
            with contextlib.suppress(ValueError):
                if name in FMTP_INT_PARAMETERS:
                    parameters[name] = int(value)
        elif name:
            parameters[name] = None
    return parameters


def _with_static(
    kind: str, types: Iterable[str], codecs: dict[str, RTCRtpCodecParameters]
) -> dict[str, RTCRtpCodecParameters]:
    """
    Add the codecs that need no a=rtpmap line, in the order of the m= line.
    """
    static = dict(x.split(":") for x in STATIC.get(kind, "").split())
    ordered = {}
    for number in types:
        if number in codecs:
            ordered[number] = codecs[number]
        elif number in static:
            ordered[number] = _static(kind, number, static[number])
    return ordered | codecs


def _static(kind: str, number: str, codec: str) -> RTCRtpCodecParameters:
    name, rate, *channels = codec.split("/")
    return RTCRtpCodecParameters(
        mimeType=f"{kind}/{name}",
        clockRate=int(rate),
        channels=int("".join(channels) or 1) if kind == "audio" else None,
        payloadType=int(number),
    )
