"""
How a connection's states follow from those of its transports (webrtc-pc
#dom-rtciceconnectionstate, #dom-rtcpeerconnectionstate, #dom-rtcicegatheringstate).

Each rule is tried in turn; "closed" is the connection's own business.
"""

from collections.abc import Set


def connection_state(ice: Set[str], dtls: Set[str]) -> str:
    """
    Return the `connectionState`.

    :param ice: The states of the ICE transports.
    :param dtls: The states of the DTLS transports.
    """
    if "failed" in ice | dtls:
        return "failed"
    if "disconnected" in ice:
        return "disconnected"
    if ice | dtls <= {"new", "closed"}:
        return "new"
    if ice & {"new", "checking"} or dtls & {"new", "connecting"}:
        return "connecting"
    return "connected"


def ice_connection_state(ice: Set[str]) -> str:
    """
    Return the `iceConnectionState`.

    :param ice: The states of the ICE transports.
    """
    if "failed" in ice:
        return "failed"
    if "disconnected" in ice:
        return "disconnected"
    if "checking" in ice:
        return "checking"
    # The W3C's is "checking" if others are not new. In aiortc a section that is added
    # has a transport until it is bundled, and its own suite wants to see "new" then.
    if "new" in ice or ice <= {"closed"}:
        return "new"
    if ice <= {"completed", "closed"}:
        return "completed"
    return "connected"


def ice_gathering_state(gatherers: Set[str]) -> str:
    """
    Return the `iceGatheringState`.

    :param gatherers: The states of the ICE gatherers.
    """
    if gatherers == {"completed"}:
        return "complete"
    return "gathering" if "gathering" in gatherers else "new"
