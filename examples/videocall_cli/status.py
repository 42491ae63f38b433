"""
What is to be seen of a call: one line, or more when asked.
"""

import asyncio

from aiortc_restart import (
    RTCIceCandidate,
    RTCIceCandidatePair,
    RTCIceTransport,
    RTCInboundRtpStreamStats,
    RTCOutboundRtpStreamStats,
    RTCPeerConnection,
    RTCTransportStats,
)


class Status:
    """
    The numbers of a connection, and how they have changed.
    """

    def __init__(self, pc: RTCPeerConnection) -> None:
        self.restarts = 0
        "How often ICE has been restarted, with success."

        self._bytes = (0, 0)
        self._pc = pc
        self._time = asyncio.get_running_loop().time()

    @property
    def path(self) -> str:
        """
        The addresses of the selected candidate pair, ours first.
        """
        pair = self._pair
        if pair is None:
            return "no path"
        return f"{address(pair.local)} > {address(pair.remote)}"

    @property
    def ufrags(self) -> str:
        """
        The username fragments of the selected candidate pair, ours first.
        """
        pair = self._pair
        if pair is None:
            return "none"
        return f"{pair.local.usernameFragment} > {pair.remote.usernameFragment}"

    @property
    def transport(self) -> RTCIceTransport | None:
        """
        The transport which sound and picture share, once there is one.
        """
        for transceiver in self._pc.getTransceivers():
            transport = transceiver.sender.transport
            if transport is not None and isinstance(
                transport.transport, RTCIceTransport
            ):
                return transport.transport
        return None

    async def line(self) -> str:
        """
        Return the status line: state, path, bit rates since the last one, and loss.
        """
        received, sent, lost = await self._counters()
        now = asyncio.get_running_loop().time()
        seconds = max(now - self._time, 1e-3)
        rates = [
            round((new - old) * 8 / seconds / 1000)
            for new, old in zip((received, sent), self._bytes, strict=True)
        ]
        self._bytes, self._time = (received, sent), now
        return (
            f"{self._pc.iceConnectionState}  {self.path}  "
            f"in {rates[0]} out {rates[1]} kbit/s  lost {lost}  "
            f"restarts {self.restarts}"
        )

    async def table(self) -> list[str]:
        """
        Return all numbers, as lines.
        """
        lines = [
            f"signaling {self._pc.signalingState}, connection "
            f"{self._pc.connectionState}, ICE {self._pc.iceConnectionState}",
            f"path {self.path}, ufrags {self.ufrags}",
        ]
        for stats in (await self._pc.getStats()).values():
            if isinstance(stats, RTCInboundRtpStreamStats):
                lines.append(
                    f"{stats.kind} in: {stats.packetsReceived} packets, "
                    f"{stats.packetsLost} lost, jitter {stats.jitter}"
                )
            elif isinstance(stats, RTCOutboundRtpStreamStats):
                lines.append(
                    f"{stats.kind} out: {stats.packetsSent} packets, "
                    f"{stats.bytesSent} bytes"
                )
        return lines

    @property
    def _pair(self) -> RTCIceCandidatePair | None:
        transport = self.transport
        return transport.getSelectedCandidatePair() if transport is not None else None

    async def _counters(self) -> tuple[int, int, int]:
        """
        Return the bytes received and sent, and the packets that have not come.
        """
        received = sent = lost = 0
        for stats in (await self._pc.getStats()).values():
            if isinstance(stats, RTCTransportStats):
                received += stats.bytesReceived
                sent += stats.bytesSent
            elif isinstance(stats, RTCInboundRtpStreamStats):
                lost += stats.packetsLost
        return received, sent, lost


def address(candidate: RTCIceCandidate) -> str:
    """
    Write a candidate's address.
    """
    host = f"[{candidate.ip}]" if ":" in candidate.ip else candidate.ip
    return f"{host}:{candidate.port}"
