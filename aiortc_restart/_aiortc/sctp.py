import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any
from weakref import WeakKeyDictionary

import aiortc
import aiortc.rtcsctptransport
import OpenSSL.SSL
from aiortc.rtcsctptransport import (
    COOKIE_LIFETIME,
    DATA_CHANNEL_OPEN,
    SCTP_CAUSE_STALE_COOKIE,
    SCTP_COMMON_HEADER_LENGTH,
    SCTP_MAX_PACKET_LENGTH,
    USERDATA_MAX_LENGTH,
    WEBRTC_DCEP,
    AbortChunk,
    Chunk,
    CookieAckChunk,
    CookieEchoChunk,
    DataChunk,
    ErrorChunk,
    InitChunk,
    serialize_packet,
)
from pyee.asyncio import AsyncIOEventEmitter

from . import reception
from .dtls import nothing
from .handshake import is_same_peer

RECOVERY_SSTHRESH = 128 * USERDATA_MAX_LENGTH
"""
Where slow start ends after an outage: RFC 9260 section 7.2.1 leaves it open, and more
packets do not fit into the socket of a peer like this one.
"""

BATCH = 64
"How many messages are queued at a time after an outage."


KEPT = frozenset(
    {
        *vars(AsyncIOEventEmitter()),
        "_announced",
        "_bundled",
        "_data_channel_queue",
        "_data_channels",
        "_former",
        "mid",
        "next_transport",
    }
)
"What a transport keeps when it begins another association."


class Batch(deque[DataChunk]):
    """
    A queue which does not tell that it holds something before it holds enough.
    """

    def __bool__(self) -> bool:
        return len(self) >= BATCH


class Bundle(Chunk):
    """
    Chunks which are sent in one packet (RFC 9260 section 6.10).
    """

    def __init__(self) -> None:
        super().__init__()
        self._data = b""

    def __bytes__(self) -> bytes:
        return self._data

    def add(self, chunk: Chunk) -> bool:
        """
        Add a chunk, and tell whether there was room for it.
        """
        data = bytes(chunk)
        length = SCTP_COMMON_HEADER_LENGTH + len(self._data) + len(data)
        if self._data and length > SCTP_MAX_PACKET_LENGTH:
            return False
        self._data += data
        return True


class RTCSctpTransport(reception.RTCSctpTransport):
    """
    aiortc's transport, which outlives an outage and catches up after it.

    A request which cannot arrive is not counted against the peer: an association that
    has been given up is lost for ever, and the path may come back. T3 has no limit in
    the base, and T2 runs when the association is being closed.

    What has piled up is sent in full packets; the base sends a packet for each message,
    and walks through all that it has sent before each of them. Once the backlog is gone
    it is the base again.
    """

    next_transport: aiortc.RTCDtlsTransport | None = None
    "What has been negotiated, while it is not connected, and another one is used."

    _aborted = False
    "Whether the peer has ended the association, and another one follows."

    _bundle: Bundle | None = None
    _catching_up = False
    _filling = False

    _t1_time = 0.0

    def __init__(self, transport: aiortc.RTCDtlsTransport, port: int = 5000) -> None:
        super().__init__(transport, port)
        # The channels which the application has opened, in the order in which it has.
        self._announced: WeakKeyDictionary[aiortc.RTCDataChannel, None] = (
            WeakKeyDictionary()
        )
        # The streams of channels which another peer had opened before.
        self._former: set[int] = set()

    def expect_overtaking(self) -> None:
        """
        Do not take what is in flight on the old path for lost because packets on the
        new one overtake it: a message which may not be sent again would be abandoned.
        Real losses are found by the timer.
        """
        for chunk in self._sent_queue:
            chunk._misses = -(10**6)

    def setTransport(self, transport: aiortc.RTCDtlsTransport) -> None:
        """
        Use another transport, as soon as it is connected.
        """
        self.next_transport = None
        if self.state in ("new", "closed"):
            super().setTransport(transport)
        elif transport is not self.transport:
            self.next_transport = transport
        elif self._aborted:
            # What was to come has been rolled back, and no association follows.
            self._set_state(self.State.CLOSED)

    async def start(
        self, remoteCaps: aiortc.RTCSctpCapabilities | None, remotePort: int
    ) -> None:
        # aiortc has asked for one when the transport was made, maybe before any ran.
        self._loop = asyncio.get_running_loop()
        old, new = self.transport, self.next_transport
        self.next_transport = None
        if new is not None:
            old._unregister_data_receiver(self)
            super().setTransport(new)
            if not is_same_peer(old, new):
                self._begin_anew(other_peer=True)
            elif self._aborted:
                self._begin_anew(other_peer=False)
            else:
                new._register_data_receiver(self)
                await self.recover()
        await super().start(remoteCaps, remotePort)

    def _cancel_timers(self) -> None:
        self._t1_cancel()
        self._t2_cancel()
        self._t3_cancel()
        self._reconfig_timer_cancel()

    def _begin_anew(self, other_peer: bool) -> None:
        """
        Be as before the association. The open data channels stay.

        :param other_peer: Whether the next association is with another peer, which is
                           told of the channels that the application has opened.
        """
        for stream_id, channel in list(self._data_channels.items()):
            if channel.readyState == "closing":
                self._data_channel_closed(stream_id)
        self._cancel_timers()
        fresh = vars(type(self)(self.transport, self._local_port))
        for name in [x for x in vars(self) if x not in KEPT]:
            delattr(self, name)
        vars(self).update({k: v for k, v in fresh.items() if k not in KEPT})

        channels = self._data_channels
        told = ("connecting", "open") if other_peer else ("connecting",)
        own = [x for x in self._announced if x.readyState in told]
        # What the other peer was told of its channels means nothing to this one.
        waiting = [
            (channel, protocol, data)
            for channel, protocol, data in self._data_channel_queue
            if channel.readyState in ("connecting", "open")
            and not (protocol == WEBRTC_DCEP and (other_peer or channel in own))
        ]
        self._data_channel_queue = deque()
        if other_peer:
            self._former = {
                k for k, v in channels.items() if not (v.negotiated or v in own)
            }
        for channel in own:
            if channel.id is not None:
                channels.pop(channel.id, None)
                if other_peer and channel.id % 2 != int(self.is_server):
                    # Numbers like this one are now the peer's (RFC 8832 section 6).
                    channel._setId(None)  # type: ignore[arg-type]
            self._data_channel_open(channel)
        self._data_channel_queue.extend(waiting)

    def _data_channel_open(self, channel: aiortc.RTCDataChannel) -> None:
        super()._data_channel_open(channel)
        self._announced[channel] = None

    def _data_channel_close(self, channel: aiortc.RTCDataChannel) -> None:
        if channel.id in self._former and channel.readyState != "closed":
            # Who has opened it is gone, and nobody else would close it, too.
            self._close_former(channel)
        else:
            super()._data_channel_close(channel)

    def _close_former(self, channel: aiortc.RTCDataChannel) -> None:
        """
        Close a channel which another peer had opened, and what was to be sent on it.
        """
        assert channel.id is not None
        self._former.discard(channel.id)
        self._data_channel_queue = deque(
            x for x in self._data_channel_queue if x[0] is not channel
        )
        self._data_channel_closed(channel.id)

    async def _data_channel_receive(
        self, stream_id: int, pp_id: int, data: bytes
    ) -> None:
        opens = pp_id == WEBRTC_DCEP and data[:1] == bytes([DATA_CHANNEL_OPEN])
        if opens and stream_id in self._former:
            # This peer opens its own channel under the number of another one's.
            channel = self._data_channels.get(stream_id)
            if channel is not None:
                self._close_former(channel)
        await super()._data_channel_receive(stream_id, pp_id, data)

    async def recover(self, certain: bool = True) -> None:
        """
        Send again what was lost with the path, without waiting for the timer, and
        without taking the outage for congestion.

        :param certain: Whether it was lost. Otherwise what may not be sent again is
                        not given up.
        """
        if self._waits:
            return
        try:
            await self._recover_setup()
            # What waits for the association has not been sent.
            if self.state == "connected":
                if self._sent_queue or self._data_channel_queue:
                    await self._recover_data(certain)
                # A stream is reset when all of its data is there.
                await self._recover_reconfig()
        except (ConnectionError, OpenSSL.SSL.Error):
            # DTLS was closed meanwhile, by either side.
            pass

    async def _data_channel_flush(self) -> None:
        if self._waits:
            return
        while self._catching_up and self._data_channel_queue:
            if self._outbound_queue:
                return
            self._outbound_queue = Batch()
            self._filling = True
            try:
                await super()._data_channel_flush()
            finally:
                self._filling = False
                self._outbound_queue = deque(self._outbound_queue)
            if not self._outbound_queue:
                # It is not established.
                return
            await self._transmit()
        self._catching_up = self._catching_up and bool(self._outbound_queue)
        await super()._data_channel_flush()

    @property
    def _waits(self) -> bool:
        """
        Whether the transport, or the association, has ended in whose place another one
        comes.
        """
        return self._aborted or (
            self.next_transport is not None and self.transport.state != "connected"
        )

    @property
    def _path_in_doubt(self) -> bool:
        # The base's ICE transport, which cannot tell, ends with its path.
        in_doubt = getattr(self.transport.transport, "path_in_doubt", bool)
        return self._waits or bool(in_doubt())

    def _receive_chunk(self, chunk: Chunk) -> Coroutine[Any, Any, None]:
        # What is not of the set-up is by far the most.
        if isinstance(chunk, AbortChunk | InitChunk | CookieEchoChunk | ErrorChunk):
            return self._receive_setup(chunk)
        return super()._receive_chunk(chunk)

    async def _receive_setup(self, chunk: Chunk) -> None:
        is_established = self._association_state == self.State.ESTABLISHED
        if isinstance(chunk, AbortChunk) and self.next_transport is not None:
            # A browser begins another association when it begins with another
            # transport, and has ended this one first. Our channels go on.
            self._aborted = True
            self._cancel_timers()
            return
        if isinstance(chunk, CookieEchoChunk) and is_established:
            # Our acknowledgement was lost, and the cookie may be old by now: that of
            # this association is not stale (RFC 9260 section 5.2.4). DTLS and the tag
            # vouch for the peer.
            await self._send_chunk(CookieAckChunk())
        elif (
            isinstance(chunk, InitChunk)
            and is_established
            and chunk.initiate_tag == self._remote_verification_tag
        ):
            # The INIT of this very association is late. aiortc would begin to count
            # anew, and all acknowledgements would be too old (RFC 9260 section 5.2.2).
            return
        elif isinstance(chunk, InitChunk) and is_established:
            # The peer has begun another association, and counts anew.
            port, size = self._remote_port, self._remote_max_message_size
            assert port is not None
            self.transport._unregister_data_receiver(self)
            self._begin_anew(other_peer=False)
            self._remote_max_message_size = size
            await super().start(None, port)
            await super()._receive_chunk(chunk)
        elif isinstance(chunk, ErrorChunk) and SCTP_CAUSE_STALE_COOKIE in [
            cause for cause, _ in chunk.params
        ]:
            # The outage was longer than the cookie's life, so ask for another one (RFC
            # 9260 section 5.2.6). If ours is new it was meant for the one before, and
            # if not, T1 ends it.
            age = asyncio.get_running_loop().time() - self._t1_time
            if (
                self._association_state == self.State.COOKIE_ECHOED
                and age > COOKIE_LIFETIME / 2
            ):
                self._t1_cancel()
                await self._init()
        else:
            await super()._receive_chunk(chunk)

    def _reconfig_timer_expired(self) -> None:
        # The base does not count it after "In progress" either.
        if self._path_in_doubt and not self._reconfig_in_progress:
            self._reconfig_failures -= 1
        super()._reconfig_timer_expired()

    async def _recover_data(self, certain: bool) -> None:
        for chunk in self._sent_queue:
            limited = chunk._max_retransmits is not None or chunk._expiry is not None
            if limited and not certain:
                continue
            if not self._maybe_abandon(chunk):
                chunk._retransmit = True
            self._flight_size_decrease(chunk)
        self._update_advanced_peer_ack_point()
        self._t3_cancel()
        # A new path begins with slow start, from its initial window (RFC 9260 section
        # 7.2.1), not from the window that the outage has collapsed.
        self._fast_recovery_exit = None
        self._partial_bytes_acked = 0
        self._cwnd = max(self._cwnd, 3 * USERDATA_MAX_LENGTH)
        self._ssthresh = max(self._ssthresh, RECOVERY_SSTHRESH)
        self._catching_up = True
        await self._transmit()
        if self._sent_queue and self._t3_handle is None:
            self._t3_start()
        await self._data_channel_flush()

    async def _recover_reconfig(self) -> None:
        """
        Send again the request to reset streams that is not answered yet.
        """
        request = self._reconfig_request
        if request is not None:
            self._reconfig_timer_cancel()
            self._reconfig_timer_start()
            await self._send_reconfig_param(request)

    async def _recover_setup(self) -> None:
        """
        Send again the INIT or COOKIE ECHO that is not answered yet.
        """
        chunk = self._t1_chunk
        if chunk is not None and self._t1_handle is not None:
            # The cookie is as old as it was.
            began = self._t1_time
            self._t1_cancel()
            self._t1_start(chunk)
            self._t1_time = began
            await self._send_chunk(chunk)

    def _send_chunk(self, chunk: Chunk) -> Coroutine[Any, Any, None]:
        if self._waits:
            # What is sent meanwhile is lost, as on a path that does not work.
            return nothing()
        if isinstance(chunk, InitChunk):
            return self._send_init(chunk)
        if self._bundle is None or not isinstance(chunk, DataChunk):
            return super()._send_chunk(chunk)
        return self._bundle_chunk(chunk)

    async def _send_init(self, chunk: InitChunk) -> None:
        assert self._remote_port is not None
        # The base would send the tag of an INIT that has come meanwhile, and no peer
        # takes it (RFC 9260 section 8.5.1).
        await self.transport._send_data(
            serialize_packet(self._local_port, self._remote_port, 0, chunk)
        )

    async def _bundle_chunk(self, chunk: DataChunk) -> None:
        if self._bundle is not None and not self._bundle.add(chunk):
            full, self._bundle = self._bundle, Bundle()
            self._bundle.add(chunk)
            await super()._send_chunk(full)

    def _t1_expired(self) -> None:
        if self._path_in_doubt:
            self._t1_failures -= 1
        super()._t1_expired()

    def _t1_start(self, chunk: Chunk) -> None:
        self._t1_time = asyncio.get_running_loop().time()
        super()._t1_start(chunk)

    def _set_state(self, state: aiortc.RTCSctpTransport.State) -> None:
        super()._set_state(state)
        if state == self.State.CLOSED:
            # aiortc forgets those which have no number yet.
            for channel in list(self._announced):
                if channel.readyState != "closed":
                    channel._setReadyState("closed")

    async def _transmit(self) -> None:
        if self._filling:
            return
        if not self._catching_up or self._bundle is not None:
            await super()._transmit()
            return
        self._bundle = Bundle()
        try:
            await super()._transmit()
        finally:
            rest, self._bundle = self._bundle, None
            if bytes(rest):
                await super()._send_chunk(rest)

    def _update_rto(self, R: float) -> None:
        # aiortc asks the wall clock, which may have been set since the message was
        # sent. No answer takes as long as the longest time-out, after which the message
        # is sent again and its answer is no measure (RFC 9260 section 6.3.1).
        if 0 <= R <= aiortc.rtcsctptransport.SCTP_RTO_MAX:
            super()._update_rto(R)
