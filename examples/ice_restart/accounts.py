"""
What was sent, what came, and what did not.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiortc_restart import (
    RTCOutboundRtpStreamStats,
    RTCPeerConnection,
    RTCRemoteInboundRtpStreamStats,
    RTCRtpSender,
    RTCTransportStats,
)

from .messages import longest_gap
from .peer import Peer

PATIENCE = 5.0
"Seconds after which something which has not come is lost."

SLOT = 0.05
"Seconds between two looks at the number of bytes received."


@dataclass
class Stream:
    """
    What became of the RTP packets of one stream.
    """

    sent: int
    lost: int

    reported: bool
    "Whether the numbers are final."


@dataclass
class Traffic:
    """
    What became of that which one peer sent to the other.
    """

    sender: str
    messages_sent: int
    messages_received: int
    rtp_sent: int
    rtp_lost: int
    datagrams_sent: int
    datagrams_received: int
    longest_gap: float

    @property
    def complete(self) -> bool:
        """
        Whether everything which was sent came.
        """
        return (
            self.messages_sent == self.messages_received
            and self.datagrams_sent == self.datagrams_received
            and self.rtp_lost == 0
        )


@dataclass
class Timeline:
    """
    The bytes which a peer received, slot by slot.
    """

    times: list[float] = field(default_factory=list)
    "The middle of each slot, in seconds of the event loop's clock."

    counts: list[float] = field(default_factory=list)
    "The bytes received in each slot, brought to its nominal length."

    async def follow(self, pc: RTCPeerConnection) -> None:
        """
        Add a slot every 50 ms until cancelled.

        :param pc: The :class:`RTCPeerConnection` which receives.
        """
        loop = asyncio.get_running_loop()
        before, so_far = loop.time(), (await transport_stats(pc)).bytesReceived
        due = before
        while True:
            due += SLOT
            await asyncio.sleep(due - loop.time())
            total = (await transport_stats(pc)).bytesReceived
            now = loop.time()
            self.times.append((before + now) / 2)
            self.counts.append((total - so_far) * SLOT / (now - before))
            before, so_far = now, total


async def settle(sender: Peer, receiver: Peer, start: float) -> Traffic:
    """
    Wait until everything which was sent has come, or should have, and add it up.

    :param sender:   A :class:`Peer` which has paused.
    :param receiver: The other one.
    :param start:    When the flow of messages began.
    :rtype: Traffic
    """
    loop = asyncio.get_running_loop()
    quiet, end = datetime.now(UTC), loop.time()
    while True:
        # In this order, so that equal numbers mean that nothing is missing.
        received = (await transport_stats(receiver.pc)).packetsReceived
        sent = (await transport_stats(sender.pc)).packetsSent
        if sent != received:
            # What is still on its way would be reported as lost.
            quiet = datetime.now(UTC)
        streams = [await rtp_stats(x, quiet) for x in sender.pc.getSenders()]
        reported = all(stream.reported for stream in streams)
        if (reported and sent == received) or loop.time() > end + PATIENCE:
            break
        await asyncio.sleep(SLOT)

    return Traffic(
        sender=sender.name,
        messages_sent=sender.messages.sent,
        messages_received=len(receiver.messages.received),
        rtp_sent=sum(stream.sent for stream in streams),
        rtp_lost=sum(stream.lost for stream in streams),
        datagrams_sent=sent,
        datagrams_received=received,
        longest_gap=longest_gap(receiver.messages.arrivals, start, end),
    )


async def rtp_stats(sender: RTCRtpSender, since: datetime) -> Stream:
    """
    Look at a stream: the other peer reports every second what it misses.

    :param sender: The :class:`RTCRtpSender` of the stream.
    :param since:  The time from which on a report is complete.
    :rtype: Stream
    """
    stats = (await sender.getStats()).values()
    sent = next(x for x in stats if isinstance(x, RTCOutboundRtpStreamStats))
    for report in stats:
        if isinstance(report, RTCRemoteInboundRtpStreamStats):
            reported = report.timestamp > since
            return Stream(sent.packetsSent, report.packetsLost, reported)
    # A stream of which nothing was ever heard is lost.
    return Stream(sent.packetsSent, sent.packetsSent, reported=False)


async def transport_stats(pc: RTCPeerConnection) -> RTCTransportStats:
    """
    Get the counters of the transport which everything shares.

    :param pc: An :class:`RTCPeerConnection`.
    :rtype: RTCTransportStats
    """
    stats = (await pc.getStats()).values()
    return next(x for x in stats if isinstance(x, RTCTransportStats))
