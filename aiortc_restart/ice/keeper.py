import asyncio
import logging

import aioice
import aioice.ice
import aiortc

from .._aiortc import RTCIceTransport as BaseIceTransport
from .._async import Tasks
from .candidate import (
    RTCIceCandidate,
    RTCIceCandidatePair,
    RTCPeerConnectionIceErrorEvent,
    candidate_from_aioice,
)
from .gatherer import RTCIceGatherer
from .generation import IceGeneration

logger = logging.getLogger(__name__)

RETIREMENT_DELAY = 3.0
"""
How long, in seconds, a generation still receives when it does not send any more
(RFC 8445 section 8.3.1).
"""

LONGEST_RETIREMENT = 10.0
"""
How long, in seconds, it does so when the peer still sends on it. A peer which has
learned of the new pair from a check only may rank it lower than its own, and stay with
that one as long as it is answered (libwebrtc).
"""

PAUSE = 1.5
"""
For how long, in seconds, nothing comes where the peer does not send any more. A browser
which only watches sends its reports about once a second.
"""

MAX_RETIRED = 2
"""
How many generations may wait for their end, however fast the restarts come. A restart
takes longer than the packets which it overtakes.
"""


class GenerationKeeper(BaseIceTransport):
    """
    The part of :class:`RTCIceTransport` that has several generations: which of them
    sends, which retire, and which state follows from theirs.
    """

    def __init__(
        self,
        gatherer: aiortc.RTCIceGatherer,
        restartTimeout: float | None = 39.5,
        disconnectedTimeout: float | None = 5.0,
        consentInterval: float | None = None,
        consentTimeout: float | None = None,
    ) -> None:
        assert isinstance(gatherer, RTCIceGatherer)
        super().__init__(gatherer)
        self._gatherer = gatherer
        self.drops = gatherer.inbox.drops
        "Counts the datagrams that have been dropped."
        gatherer.others = lambda: self.generations
        gatherer.consent.interval = consentInterval
        gatherer.consent.timeout = consentTimeout
        self._disconnected_timeout = disconnectedTimeout
        self._restart_timeout = restartTimeout

        # The one whose credentials have been negotiated, the one whose credentials
        # are being negotiated, and the one that sends.
        self._current = gatherer.generation
        self._pending: IceGeneration | None = None
        self._active: IceGeneration | None = None
        self._retired: dict[IceGeneration, asyncio.TimerHandle] = {}
        self._current.owner = self

        # Whether the peer's credentials of the current one have been negotiated.
        self._agreed = False

        self._closing = Tasks("RTCIceTransport")
        self._dropped = 0
        self._selected: RTCIceCandidatePair | None = None
        self._selected_pair: aioice.ice.CandidatePair | None = None
        self._start_settled = asyncio.Event()
        self._switches = 0
        self._tie_breaker = self._current.connection.tie_breaker

        # The base's were bound to one connection.
        self._recv = gatherer.inbox.get
        self._send = self._drop

    @property
    def generations(self) -> list[IceGeneration]:
        """
        The generations which hold sockets, the oldest first.
        """
        alive = [*self._retired, self._active, self._current, self._pending]
        return [x for x in dict.fromkeys(alive) if x is not None and not x.closed]

    @property
    def has_path(self) -> bool:
        """
        Whether what is sent leaves this host, as far as is known.
        """
        return self._active is not None and not self._active.lost

    @property
    def proof(self) -> tuple[int, int] | None:
        """
        What becomes another with each proof that what is sent reaches the peer, or
        `None`.
        """
        if self._active is None:
            return None
        return self._switches, self._active.connection.answers

    @property
    def state(self) -> str:
        """
        The current state of the ICE transport (webrtc-pc #dom-rtcicetransportstate).

        Possible values: `"new"`, `"checking"`, `"connected"`, `"completed"`,
        `"disconnected"`, `"failed"`, `"closed"`.

        When the state changes, the `"statechange"` event is fired.
        """
        return super().state

    def ask(self) -> None:
        """
        Ask the peer whether what is sent arrives, unless it has been asked already.
        """
        if self._active is not None and not self._active.connection.asking:
            self._active.ask()

    # GenerationOwner

    def generation_changed(self, generation: IceGeneration) -> None:
        if generation is self._active:
            self._update_state()
        elif generation is self._current and generation.selectable:
            self._switch(generation)

    def generation_failed(self, generation: IceGeneration) -> None:
        if generation.restart:
            logger.warning(
                "ICE restart failed: no candidate pair worked within %s seconds",
                generation.timeout,
            )
            self._close(generation)
            self._gatherer.update_state()
        self._update_state()

    def generation_found_dead(self, generation: IceGeneration) -> None:
        # The switch came before this could be known, and it may only be slow.
        self.emit("suspected")

    def generation_found(
        self, generation: IceGeneration, candidate: RTCIceCandidate
    ) -> None:
        self.emit("localcandidate", candidate)

    def generation_lost(self, generation: IceGeneration) -> None:
        if generation is self._active:
            self._send = self._drop
            self._answer_nominations()
            if self._current is not generation:
                self.generation_changed(self._current)
            self._update_state()

    def generation_recovered(self, generation: IceGeneration) -> None:
        if generation is self._active:
            self.emit("recovered")

    def generation_silence_changed(self, generation: IceGeneration) -> None:
        if generation is self._active:
            if generation.silent:
                self._answer_nominations()
                # A pair which waits for the old one is waited for no more.
                if self._current is not generation:
                    self.generation_changed(self._current)
            self._update_state()

    def generation_role_switched(
        self, generation: IceGeneration, ice_controlling: bool
    ) -> None:
        # An agent has one role (RFC 8445 section 6.1.1), so that the peer's checks on
        # the old pair find no conflict either.
        for other in self.generations:
            if other.connection.ice_controlling != ice_controlling:
                other.connection.switch_role(ice_controlling)

    def generation_server_failed(
        self, generation: IceGeneration, event: RTCPeerConnectionIceErrorEvent
    ) -> None:
        self.emit("servererror", event)

    def generation_settled(self, generation: IceGeneration) -> None:
        self._gatherer.update_state()
        if generation is self._current and generation.ready and not generation.started:
            self.emit("ready")
        self._update_state()

    def path_in_doubt(self) -> bool:
        active = self._active
        return active is None or active.out or active.connection.overdue > 0

    # Private

    def _answer_nominations(self) -> None:
        # There is no path which the peer might leave too early.
        for generation in (self._pending, self._current):
            if generation is not None and generation is not self._active:
                generation.connection.answer_nominations()

    def _await_pause(
        self, generation: IceGeneration, end: float, seen: int | None = None
    ) -> None:
        """
        Close a retired generation when nothing comes on it any more.

        :param end: The loop's time at which it is closed in any case, in seconds.
        :param seen: How many datagrams had come when this was asked the last time.
        """
        if generation not in self._retired:
            return
        loop = asyncio.get_running_loop()
        count = generation.connection.data_count
        if seen == count or loop.time() >= end:
            self._close(generation)
            return
        if seen is not None:
            # Without answers the peer leaves its pair, so that nothing is lost when
            # that ends.
            generation.connection.mute()
        self._retired[generation] = loop.call_at(
            min(loop.time() + PAUSE, end), self._await_pause, generation, end, count
        )

    def _close(self, generation: IceGeneration) -> None:
        # It decides nothing any more, though its sockets close only later.
        generation.closed = generation.lost = True
        generation.connection.observer = None
        self._retired.pop(generation, None)
        self._order_generations()
        self._closing.create(generation.close(), f"close {generation!r}")

    async def _drop(self, data: bytes) -> None:
        # As UDP would. An exception would end DTLS, a sender's track or SCTP.
        self._dropped += 1

    def _mute_exposed(self) -> None:
        """
        Let retired generations send nothing any more from addresses which the policy
        that is in force now hides. What the peer still sends there is received.
        """
        if self._active is not None and self._active.hides_addresses:
            for generation in self._retired:
                if not generation.hides_addresses:
                    generation.connection.mute()

    def _order_generations(self) -> None:
        connections = [x.connection for x in self.generations]
        for i, connection in enumerate(connections):
            connection.follow(connections[:i])

    async def _refuse_receive(self) -> bytes:
        raise ConnectionError("Cannot receive data, RTCIceTransport is closed")

    async def _refuse_send(self, data: bytes) -> None:
        raise ConnectionError("Cannot send data, RTCIceTransport is closed")

    def _retire(self, generation: IceGeneration) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_RETIREMENT
        self._retired[generation] = loop.call_later(
            RETIREMENT_DELAY - PAUSE, self._await_pause, generation, end
        )
        for oldest in list(self._retired)[:-MAX_RETIRED]:
            self._retired[oldest].cancel()
            self._close(oldest)

    def _switch(self, generation: IceGeneration) -> None:
        """
        Send on a generation from now on. There is no `await` in it.
        """
        previous, self._active = self._active, generation
        self._switches += 1
        self._connection = generation.connection
        self._send = generation.connection.send
        generation.use(self._disconnected_timeout)
        recovered = previous is not None and previous.leave()
        if previous is not None:
            self._retire(previous)
        self._mute_exposed()
        self._update_state()
        if recovered:
            self.emit("recovered")

    def _update_selected_pair(self) -> bool:
        """
        Look which pair is selected, and tell whether it is another one.
        """
        active = self._active
        pair = active.connection.selected_pair if active is not None else None
        if active is None or pair is None or pair is self._selected_pair:
            return False
        self._selected_pair = pair
        self._selected = RTCIceCandidatePair(
            local=candidate_from_aioice(pair.local_candidate, active.local),
            remote=candidate_from_aioice(pair.remote_candidate, active.remote),
        )
        return True

    def _update_state(self) -> None:
        """
        Compute the state (webrtc-pc #dom-rtcicetransportstate), and tell of what has
        changed, the selected pair first (webrtc-pc
        #dom-rtcicetransport-onselectedcandidatepairchange).
        """
        if self.state == "closed":
            return
        pair_changed = self._update_selected_pair()
        restarting = (
            self._current is not self._active
            and self._current.started
            and not self._current.closed
            and not self._current.failed
        )
        alive = self._active is not None and not self._active.lost
        silent = self._active is not None and self._active.silent
        done = self._active is not None and self._active.done
        if alive and not silent:
            state = "completed" if done and not restarting else "connected"
        elif restarting and self._current.checking:
            state = "checking"
        elif alive:
            state = "disconnected"
        elif self._current.started and not restarting:
            state = "failed"
        else:
            state = "new"
        if state == "checking":
            self._start_settled.clear()
        if state != self.state:
            logger.debug("RTCIceTransport(%s) - %s -> %s", self.role, self.state, state)
        self._set_state(state, pair_changed)
        if state not in ("new", "checking"):
            self._start_settled.set()
