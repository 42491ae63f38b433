"""
What the page is told about the server's end of its call.
"""

import time
from collections.abc import Callable
from typing import Any

from aiortc_restart import RTCIceCandidate, RTCIceTransport, RTCPeerConnection

from .messages import Message

STATES = ("connectionState", "iceConnectionState", "signalingState")


def watch(pc: RTCPeerConnection, send: Callable[[Message], None]) -> None:
    """
    Tell of each change of a connection's states.
    """
    told: dict[str, str] = {}

    def tell() -> None:
        changes = {x: getattr(pc, x) for x in STATES if told.get(x) != getattr(pc, x)}
        told.update(changes)
        if changes:
            send({"state": changes})

    for name in STATES:
        pc.on(name.lower() + "change", tell)
    tell()


def watch_path(transport: RTCIceTransport, send: Callable[[Message], None]) -> None:
    """
    Tell of each path which a call takes, and of the generation it belongs to.
    """

    def tell() -> None:
        pair = transport.getSelectedCandidatePair()
        if pair is not None:
            path = {
                "local": _address(pair.local),
                "remote": _address(pair.remote),
                "localUfrag": pair.local.usernameFragment,
                "remoteUfrag": pair.remote.usernameFragment,
            }
            send({"path": path})

    transport.on("selectedcandidatepairchange", tell)
    tell()


async def numbers(pc: RTCPeerConnection) -> Message:
    """
    Count what a connection has carried.
    """
    report: dict[str, Any] = await pc.getStats()
    transports = [x for x in report.values() if x.type == "transport"]
    streams = [x for x in report.values() if x.type == "inbound-rtp"]
    return {
        "bytesReceived": sum(x.bytesReceived for x in transports),
        "bytesSent": sum(x.bytesSent for x in transports),
        "packetsLost": sum(x.packetsLost for x in streams),
        "time": time.monotonic(),
    }


def _address(candidate: RTCIceCandidate) -> str:
    host = f"[{candidate.ip}]" if ":" in candidate.ip else candidate.ip
    return f"{host}:{candidate.port}"
