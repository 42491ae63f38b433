import asyncio
from collections import deque
from weakref import WeakKeyDictionary

import aiortc
from aiortc.rtcsctptransport import (
    DATA_CHANNEL_OPEN,
    WEBRTC_DCEP,
    AbortChunk,
    Chunk,
    InitChunk,
)
from pyee.asyncio import AsyncIOEventEmitter

from . import catching_up
from .handshake import is_same_peer

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


class RTCSctpTransport(catching_up.RTCSctpTransport):
    """
    aiortc's transport, whose data channels go on when another DTLS transport, another
    association or another peer follows.
    """

    next_transport: aiortc.RTCDtlsTransport | None = None
    "What has been negotiated, while it is not connected, and another one is used."

    _aborted = False
    "Whether the peer has ended the association, and another one follows."

    def __init__(self, transport: aiortc.RTCDtlsTransport, port: int = 5000) -> None:
        super().__init__(transport, port)
        # The channels which the application has opened, in the order in which it has.
        self._announced: WeakKeyDictionary[aiortc.RTCDataChannel, None] = (
            WeakKeyDictionary()
        )
        # The streams of channels which another peer had opened before.
        self._former: set[int] = set()

    @property
    def _waits(self) -> bool:
        return self._aborted or (
            self.next_transport is not None and self.transport.state != "connected"
        )

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
        # aiortc asks for the loop when the transport is made, maybe before any runs.
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

    def _cancel_timers(self) -> None:
        self._t1_cancel()
        self._t2_cancel()
        self._t3_cancel()
        self._reconfig_timer_cancel()

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

    def _data_channel_close(self, channel: aiortc.RTCDataChannel) -> None:
        if channel.id in self._former and channel.readyState != "closed":
            # The peer that opened this channel is gone, and no other would close it.
            self._close_former(channel)
        else:
            super()._data_channel_close(channel)

    def _data_channel_open(self, channel: aiortc.RTCDataChannel) -> None:
        super()._data_channel_open(channel)
        self._announced[channel] = None

    async def _data_channel_receive(
        self, stream_id: int, pp_id: int, data: bytes
    ) -> None:
        opens = pp_id == WEBRTC_DCEP and data[:1] == bytes([DATA_CHANNEL_OPEN])
        if opens and stream_id in self._former:
            # This peer opens a channel under a number that the one before has used.
            channel = self._data_channels.get(stream_id)
            if channel is not None:
                self._close_former(channel)
        await super()._data_channel_receive(stream_id, pp_id, data)

    async def _receive_setup(self, chunk: Chunk) -> None:
        if isinstance(chunk, AbortChunk) and self.next_transport is not None:
            # A browser begins another association when it begins with another
            # transport, and has ended this one first. Our channels go on.
            self._aborted = True
            self._cancel_timers()
            return
        established = self._association_state == self.State.ESTABLISHED
        if isinstance(chunk, InitChunk) and established:
            if chunk.initiate_tag == self._remote_verification_tag:
                # This association's INIT is late. aiortc would begin to count anew,
                # and all acknowledgements would be too old (RFC 9260 section 5.2.2).
                return
            # The peer has begun another association, and counts anew.
            port, size = self._remote_port, self._remote_max_message_size
            assert port is not None
            self.transport._unregister_data_receiver(self)
            self._begin_anew(other_peer=False)
            self._remote_max_message_size = size
            await super().start(None, port)
        await super()._receive_setup(chunk)

    def _set_state(self, state: aiortc.RTCSctpTransport.State) -> None:
        super()._set_state(state)
        if state == self.State.CLOSED:
            # aiortc forgets the channels which have no number yet.
            for channel in list(self._announced):
                channel._setReadyState("closed")
