"""
Offers and answers which have been created and not been set: the [[LastCreatedOffer]]
and [[LastCreatedAnswer]] slots of webrtc-pc.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiortc import RTCSessionDescription
from aiortc.sdp import SessionDescription

RENEWED = ("a=ice-ufrag:", "a=ice-pwd:")
"What a description that restarts ICE has anew each time that it is created."


# It has passwords, which nothing is to log.
@dataclass(frozen=True, repr=False)
class Created:
    """
    A description that has been created.
    """

    sdp: str
    type: str
    description: SessionDescription
    "The same before it became text, so that nobody has to parse it."

    restart: bool = False
    "Whether it was asked to restart ICE."

    def still_says(
        self, now: RTCSessionDescription, credentials: Collection[str]
    ) -> bool:
        """
        Whether the description still represents the state of the connection.

        Nobody has to tell what has changed since: it is compared with one which has
        been created now.

        :param now: It is the same but for the version, and for new credentials.
        :param credentials: The username fragments and passwords of the local
                            descriptions. One of both has new credentials only if the
                            other one has, too.
        """
        return self.type == now.type and _essence(self.sdp, credentials) == _essence(
            now.sdp, credentials
        )


def wants_restart(options: object) -> bool:
    """
    Return whether the argument of `createOffer()` asks for an ICE restart.

    :param options: Whether it does, or JavaScript's `RTCOfferOptions`, of which there
                    is nothing else.

    :raises TypeError: if it is anything else.
    """
    wanted = options
    if isinstance(options, Mapping):
        others = [x for x in options if x != "iceRestart"]
        if others:
            raise TypeError(
                f"createOffer() has no option {others[0]!r}: write "
                "createOffer(iceRestart=True) to restart ICE, and addTransceiver() to "
                "receive media"
            )
        wanted = options.get("iceRestart", False)
    if not isinstance(wanted, bool):
        raise TypeError(
            "iceRestart must be True or False: write createOffer(iceRestart=True), not "
            f"createOffer({options!r})"
        )
    return wanted


def _essence(sdp: str, credentials: Collection[str]) -> list[str]:
    """
    Return what a description says, without its version and with new credentials which
    are all alike.
    """
    lines = []
    for line in sdp.splitlines():
        name, _, value = line.partition(":")
        if credentials and f"{name}:" in RENEWED and value not in credentials:
            line = name
        if not line.startswith("o="):
            lines.append(line)
    return lines
