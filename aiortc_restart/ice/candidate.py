from dataclasses import dataclass, field
from typing import Any

import aioice
import aiortc
import aiortc.rtcicetransport
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp


@dataclass
class RTCIceCandidate(aiortc.RTCIceCandidate):
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

    @classmethod
    def fromJSON(cls, message: dict[str, Any]) -> "RTCIceCandidate | None":
        """
        Make a candidate of what a browser's `RTCIceCandidate.toJSON()` gives.

        :param message: A dictionary with the members `candidate`, `sdpMid`,
                        `sdpMLineIndex` and `usernameFragment`.

        :raises ValueError: if the candidate attribute cannot be parsed.
        :rtype: :class:`RTCIceCandidate`, or `None` for end-of-candidates.
        """
        attribute = str(message.get("candidate") or "").removeprefix("candidate:")
        if not attribute:
            return None
        try:
            parsed = candidate_from_sdp(attribute)
        except (AssertionError, IndexError, ValueError):
            raise ValueError(f'Malformed candidate "{attribute}"') from None
        bits = attribute.split()
        extensions = dict(zip(bits[8:-1:2], bits[9::2], strict=False))
        return cls(
            **{
                **vars(parsed),
                "sdpMid": message.get("sdpMid"),
                "sdpMLineIndex": message.get("sdpMLineIndex"),
                "usernameFragment": message.get("usernameFragment")
                or extensions.get("ufrag"),
            }
        )

    def toJSON(self) -> dict[str, Any]:
        """
        Return a dictionary for a browser's `RTCPeerConnection.addIceCandidate()`.
        """
        candidate = "candidate:" + candidate_to_sdp(self)
        if self.usernameFragment is not None:
            candidate += f" ufrag {self.usernameFragment}"
        return {
            "candidate": candidate,
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


def candidate_from_aioice(
    candidate: aioice.Candidate, parameters: aiortc.RTCIceParameters | None
) -> RTCIceCandidate:
    """
    Convert a candidate of the generation which has the given credentials.
    """
    return RTCIceCandidate(
        **vars(aiortc.rtcicetransport.candidate_from_aioice(candidate)),
        usernameFragment=parameters.usernameFragment if parameters else None,
    )
