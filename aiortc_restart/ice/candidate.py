from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aioice
import aiortc
import aiortc.rtcicetransport
from aiortc import RTCIceCandidate as BaseIceCandidate
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

MAX_LENGTH = 1024
"How many characters a candidate attribute of JSON may have (RFC 8839 section 5.1)."

MAX_MLINE_INDEX = 65535
"An unsigned short, as all m-line indices (webrtc-pc #dom-rtcicecandidateinit)."

T = TypeVar("T", str, int)


@dataclass
class RTCIceCandidate(BaseIceCandidate):
    """
    The :class:`RTCIceCandidate` interface represents a candidate Interactive
    Connectivity Establishment (ICE) configuration which may be used to
    establish an RTCPeerConnection.
    """

    # What tells generations apart does not tell candidates apart.
    usernameFragment: str | None = field(default=None, compare=False)
    """
    The username fragment of the generation which the candidate belongs to, or `None`
    for the latest (RFC 8839 section 5.1, webrtc-pc #dom-rtcicecandidate).
    """

    @property
    def candidate(self) -> str:
        """
        The `candidate` attribute (RFC 8839 section 5.1), or an empty string if this is
        the end of the candidates of an m-section.
        """
        if is_end_of_candidates(self):
            return ""
        attribute = "candidate:" + candidate_to_sdp(self)
        if self.usernameFragment is not None:
            attribute += f" ufrag {self.usernameFragment}"
        return attribute

    @classmethod
    def fromJSON(cls, message: Mapping[str, Any] | None) -> "RTCIceCandidate | None":
        """
        Make a candidate of what a browser's `RTCIceCandidate.toJSON()` gives.

        An empty `candidate` is the end of the candidates of the m-section and the
        generation that the other members name, and of all if they name no m-section
        (webrtc-pc #dom-peerconnection-addicecandidate).

        :param message: A dictionary with the members `candidate`, `sdpMid`,
                        `sdpMLineIndex` and `usernameFragment`, or `None`.

        :raises ValueError: if the candidate attribute cannot be parsed, or a member is
                            of another type.
        :rtype: :class:`RTCIceCandidate`, or `None` for end-of-candidates.
        """
        if message is None:
            return None
        if not isinstance(message, Mapping):
            raise ValueError(
                f"A candidate must be an object, not {type(message).__name__}"
            )
        attribute = _member(message, "candidate", str) or ""
        _check_length(attribute)
        attribute = attribute.removeprefix("candidate:")
        mid = _member(message, "sdpMid", str)
        index = _member(message, "sdpMLineIndex", int)
        username = _member(message, "usernameFragment", str)
        # Some send an empty string for what they do not know (Pion).
        if mid == "" and index is not None:
            mid = None
        if not attribute:
            if mid is None and index is None:
                return None
            parsed: BaseIceCandidate = _end_of_candidates()
        else:
            parsed = _parse(attribute)
            username = username or _extensions(attribute).get("ufrag")
        named = {"sdpMid": mid, "sdpMLineIndex": index}
        return cls(**{**vars(parsed), **named, "usernameFragment": username or None})

    def toJSON(self) -> dict[str, Any]:
        """
        Return a dictionary for a browser's `RTCPeerConnection.addIceCandidate()`.
        """
        return {
            "candidate": self.candidate,
            "sdpMid": self.sdpMid,
            "sdpMLineIndex": self.sdpMLineIndex,
            "usernameFragment": self.usernameFragment,
        }


@dataclass
class RTCIceCandidatePair:
    """
    The :class:`RTCIceCandidatePair` dictionary holds the two ends of a path.
    """

    local: RTCIceCandidate
    "The local candidate."

    remote: RTCIceCandidate
    "The remote candidate."


@dataclass
class RTCPeerConnectionIceErrorEvent:
    """
    The :class:`RTCPeerConnectionIceErrorEvent` event says which server has given no
    candidate, or that the system has opened no socket, and why (webrtc-pc
    #rtcpeerconnectioniceerrorevent).
    """

    address: str | None
    "The local address from which the server was asked, or `None` if it is not known."

    port: int | None
    "The local port, or `None`."

    url: str
    "The URL of the server, or an empty string if this host could not open any socket."

    errorCode: int
    """
    What the server has answered, from 300 to 699, or 701 if it could not be reached or
    did not answer.
    """

    errorText: str
    "The reason in words."


def candidate_from_aioice(
    candidate: aioice.Candidate, parameters: aiortc.RTCIceParameters | None
) -> RTCIceCandidate:
    """
    Convert a candidate of the generation which has the given credentials.
    """
    # The base's may have been replaced by this class, by an application.
    converted = vars(aiortc.rtcicetransport.candidate_from_aioice(candidate))
    username = parameters.usernameFragment if parameters else None
    return RTCIceCandidate(**{**converted, "usernameFragment": username})


def end_of_candidates(parameters: aiortc.RTCIceParameters) -> RTCIceCandidate:
    """
    Return what says that the generation which has the given credentials has no more
    candidates (webrtc-pc #dom-rtcicecandidate-candidate).
    """
    return RTCIceCandidate(
        **vars(_end_of_candidates()), usernameFragment=parameters.usernameFragment
    )


def is_end_of_candidates(candidate: BaseIceCandidate) -> bool:
    """
    Whether a candidate stands for the end of candidates, as its attribute is empty.
    """
    return not (
        candidate.foundation or candidate.ip or candidate.protocol or candidate.type
    )


def _check_length(attribute: str) -> None:
    if len(attribute) > MAX_LENGTH:
        raise ValueError(
            f"There are {len(attribute)} characters in a candidate, of at most "
            f"{MAX_LENGTH}"
        )


def _end_of_candidates() -> BaseIceCandidate:
    # The W3C's attributes are null then, the base's fields have no such value.
    return BaseIceCandidate(
        component=1, foundation="", ip="", port=0, priority=0, protocol="", type=""
    )


def _extensions(attribute: str) -> dict[str, str]:
    bits = attribute.split()
    return dict(zip(bits[8:-1:2], bits[9::2], strict=False))


def _member(message: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """
    Return a member of a JSON object, or `None` if it is missing or null.

    :raises ValueError: if it is of another type, or out of range.
    """
    value = message.get(name)
    if value is None:
        return None
    # To Python, a boolean is a number.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(
            f"{name} of a candidate must be of type {kind.__name__}, not "
            f"{type(value).__name__}"
        )
    if isinstance(value, int) and not 0 <= value <= MAX_MLINE_INDEX:
        raise ValueError(f"{name} of a candidate must be from 0 to {MAX_MLINE_INDEX}")
    return value


def _parse(attribute: str) -> BaseIceCandidate:
    try:
        candidate = candidate_from_sdp(attribute)
    except (AssertionError, IndexError, ValueError):
        raise ValueError(f'Malformed candidate "{attribute}"') from None
    if attribute.split()[6] != "typ":
        raise ValueError(f'Malformed candidate "{attribute}"')
    return candidate
