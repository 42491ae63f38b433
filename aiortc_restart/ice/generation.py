import asyncio
import logging
from collections.abc import Callable

import aiortc

from .._aiortc import GatheringOptions, RemoteCandidates
from .._async import Tasks
from .candidate import (
    RTCIceCandidate,
    RTCPeerConnectionIceErrorEvent,
)
from .connection import Connection
from .gathered import GatheringGeneration
from .liveness import Liveness
from .owner import GenerationOwner

logger = logging.getLogger(__name__)

PEER_CHECK_TIMEOUT = 1.5
"""
How long, in seconds, an answerer leaves the first check of a restart to the offerer.

An answerer that checks first reaches Chromium before the answer does, and Chromium then
leaves the new pairs alone for as long as its old one is healthy: what it learns before
it knows the credentials counts as older than that, whatever its priority.
"""

LAST_ANSWER = 0.05
"How long at least, in seconds, a path that is left has to show that it works."

RemoteState = tuple[aiortc.RTCIceParameters | None, bool, bool, RemoteCandidates]
"What descriptions have said of the peer."


class IceGeneration(GatheringGeneration):
    """
    One set of local ICE credentials with all that hangs on it: an aioice connection,
    its sockets, its candidates and its tasks (RFC 8445 section 9).

    :param connection: The connection, which nobody else drives.
    :param restart: Whether this is not the transport's first generation.
    :param options: Returns what the connection is to gather with.
    :param trickle: Whether checks begin before all candidates have been gathered.
    """

    def __init__(
        self,
        connection: Connection,
        restart: bool,
        options: Callable[[], GatheringOptions],
        trickle: bool = False,
    ) -> None:
        super().__init__(connection, options, trickle)
        self.connected = False
        "Whether a pair has been nominated. It stays so when the path is lost."
        self.failed = False
        "Whether its checks have failed, or its deadline has passed."
        self.in_use = False
        "Whether the call has been switched to it."
        self.lost = False
        "Whether nothing can be sent on it any more."
        self.owner: GenerationOwner | None = None
        self.peer_checked = False
        "Whether the peer has sent a check with this generation's credentials."
        self.remote: aiortc.RTCIceParameters | None = None
        "The peer's credentials, once a description has brought them."
        self.restart = restart
        self.started = False
        "Whether connectivity checks have begun."
        self.timeout: float | None = None
        "When it is given up, in seconds from then."
        self._answerer = False
        self._checked = False
        self._first_check = asyncio.Event()
        self._kept_sockets = False
        self._liveness: Liveness | None = None
        self._remote_candidates_end = False
        self._remote_candidates_known = False
        self._tasks = Tasks(f"{self!r}")
        self._unknown_remote = self.remote_state
        connection.observer = self

    @property
    def checking(self) -> bool:
        """
        Whether its checks have begun and, in a first connection which trickles, one of
        the peer's candidates is known (webrtc-pc #dom-rtcicetransportstate-checking).
        """
        return self.started and (
            self.restart
            or not self.trickle
            or self.peer_checked
            or bool(self.connection.remote_candidates)
        )

    @property
    def done(self) -> bool:
        """
        Whether nothing is left to be found and checked (webrtc-pc
        #dom-rtcicetransportstate-completed). Without trickle that is so when a pair has
        been selected.
        """
        return not self.trickle or (
            self._checked and self._gathered and self._remote_candidates_known
        )

    @property
    def remote_candidates_end(self) -> bool:
        """
        Whether no more of the peer's candidates are taken.
        """
        return self._remote_candidates_end

    @property
    def out(self) -> bool:
        """
        Whether its path, which is in use, does not work, or has not since some time.
        """
        return self.lost or (
            self._liveness is not None
            and (self._liveness.silent or self._liveness.outage)
        )

    @property
    def remote_state(self) -> RemoteState:
        """
        What descriptions have said of the peer. It may be set before the checks begin.
        """
        return (
            self.remote,
            self._remote_candidates_end,
            self._remote_candidates_known,
            self.connection.remotes,
        )

    @remote_state.setter
    def remote_state(self, value: RemoteState) -> None:
        (
            self.remote,
            self._remote_candidates_end,
            self._remote_candidates_known,
            self.connection.remotes,
        ) = value

    @property
    def selectable(self) -> bool:
        """
        Whether the call may be switched to it.
        """
        return (
            self.connected
            and not self.lost
            and not self._waits_for_peer
            and not self._waits_for_nomination
        )

    @property
    def silent(self) -> bool:
        """
        Whether nothing has come on its path, which is in use, for too long.
        """
        return self._liveness is not None and self._liveness.silent

    async def add_remote_candidate(self, candidate: aiortc.RTCIceCandidate) -> None:
        if self._takes_candidates():
            await self.connection.add_remote_candidate(
                aiortc.rtcicetransport.candidate_to_aioice(candidate)
            )
            self._learn()

    def take_remote_candidate(self, candidate: aiortc.RTCIceCandidate) -> None:
        """
        Add a remote candidate which has an address, at once.
        """
        if self._takes_candidates():
            self.connection.take_remote_candidate(
                aiortc.rtcicetransport.candidate_to_aioice(candidate)
            )
            self._learn()

    def allow_silence(self, seconds: float | None) -> None:
        """
        Change after how many seconds its path, if it is in use, is called silent.
        """
        if self._liveness is not None:
            self._liveness.set_timeout(seconds)

    async def close(self) -> None:
        """
        Free the sockets and the TURN allocation, and end the tasks.
        """
        self.closed = self.lost = True
        self.connection.observer = None
        self.rest()
        if self._gathering is not None and not self._gathering.done():
            # What gathering still brings, such as a TURN allocation, is freed then.
            self._gathering.add_done_callback(self._close_again)
            self.connection.abort_gathering()
        await self._tasks.cancel()
        await self.connection.close()

    def end_remote_candidates(self, named: bool = False) -> None:
        """
        Take note that the peer has no more candidates.

        :param named: Whether the peer has said so of this generation, and not of what
                      is the latest one here.
        """
        if self._remote_candidates_end:
            return
        if self.restart or self.trickle:
            # It ends at its deadline and not before (RFC 8863 section 3), as the peer's
            # own checks may still come. A "null" candidate, which names no generation,
            # may be late, and have been meant for another one.
            self._remote_candidates_end = named
        else:
            self._remote_candidates_end = True
            self.connection.take_remote_candidate(None)
        self.remote_candidates_known()

    def forget_remote(self) -> None:
        """
        Forget what descriptions have said of the peer, before the checks begin.
        """
        self.remote_state = self._unknown_remote

    def remote_candidates_known(self) -> None:
        """
        Take note that the peer is not expected to have more candidates. Should some
        come, they are taken.
        """
        self._remote_candidates_known = True
        self._learn()

    def ask(self) -> None:
        """
        Ask whether its path, which is in use, still works.
        """
        if self._liveness is not None:
            self.connection.probe()

    def leave(self) -> bool:
        """
        Take note that the call has been switched to another one, and tell whether its
        path had not worked. If that is not known yet, the owner is told later.
        """
        dead = self.out or self.connection.overdue > 0
        if not dead and self.connection.asking:
            self._tasks.create(self._await_answer(), "await answer")
        self.rest()
        return dead

    def rest(self) -> None:
        """
        Take note that the call is not on it any more: its path need not live.
        """
        if self._liveness is not None:
            self._liveness.stop()
            self._liveness = None

    def start(
        self,
        remote: aiortc.RTCIceParameters,
        *,
        answerer: bool = False,
        kept_sockets: bool = False,
        timeout: float | None = None,
    ) -> None:
        """
        Begin connectivity checks, unless they have begun.

        :param remote: The peer's credentials.
        :param answerer: Whether the call is switched to it only when the peer has sent
                         a check.
        :param kept_sockets: Whether the peer goes on with the sockets of the generation
                             before. Such a peer may send no check of its own accord,
                             so it is not waited for (werift).
        :param timeout: When to give up, in seconds from now.
        """
        if self.started:
            return
        self.started = True
        self.remote = remote
        self.timeout = timeout
        self._answerer = answerer and not remote.iceLite
        # Otherwise the base nominates each pair it checks, and the peer follows from
        # pair to pair. One is, when it has proved valid (RFC 8445 section 8.1.1).
        self.connection.remote_is_lite = True
        self.connection.remote_username = remote.usernameFragment
        self.connection.remote_password = remote.password
        self.connection.overtakes = self.restart and self.trickle
        self._kept_sockets = kept_sockets
        self._tasks.create(self._connect(), "connect")
        self._tasks.create(self._watch(), "watch")

    def use(self, timeout: float | None = None) -> None:
        """
        Take note that the call has been switched to it.

        :param timeout: After how many seconds without a sign of life its path is called
                        silent. `None` for never.
        """
        self.in_use = True
        self._first_check.set()
        self._liveness = Liveness(self.connection, self, timeout)
        self._tasks.create(self._expire(), "expire")

    # ConnectionObserver

    def check_received(self) -> None:
        if not self.peer_checked:
            self.peer_checked = True
            self._first_check.set()
            self._changed()
            self._settle()

    def connection_closing(self) -> None:
        if not self.lost:
            self.lost = True
            self.rest()
            if self.owner is not None and self.connected:
                self.owner.generation_lost(self)

    def nomination_is_early(self) -> bool:
        # RFC 8445 section 7.3 has each check answered at once. A peer in control may
        # close its old sockets then (Firefox), on which we have to send until its
        # answer is here and our own check has succeeded. Where they do not work there
        # is nothing to lose.
        return (
            self.restart
            and not self._answerer
            and not self.connected
            and not self._path_in_doubt
        )

    def pair_selected(self) -> None:
        # The base's connect() would tell it only at the next tick of its pacing.
        self.connected = True
        self._changed()
        self.connection.answer_nominations()

    def pair_unselected(self) -> None:
        if self.in_use:
            self.path_lost()
        else:
            self.connected = False

    def path_lost(self) -> None:
        self._tasks.create(self.connection.close(), "close")

    def role_switched(self, ice_controlling: bool) -> None:
        if self.owner is not None:
            self.owner.generation_role_switched(self, ice_controlling)

    # LivenessObserver

    def path_recovered(self) -> None:
        if self.owner is not None:
            self.owner.generation_recovered(self)

    def silence_changed(self) -> None:
        if self.owner is not None:
            self.owner.generation_silence_changed(self)

    # Private

    @property
    def _waits_for_nomination(self) -> bool:
        # Only without a path is there haste (RFC 8445 section 12.1): a new one may die
        # in this round trip, and werift refuses what comes before the nomination.
        return not self.connection.nominated and not self._path_in_doubt

    @property
    def _waits_for_peer(self) -> bool:
        # A peer that offered reads media on the new pair only when it has the answer,
        # which its first check proves (Firefox drops what comes earlier).
        return (
            self._answerer
            and not self.in_use
            and not self.peer_checked
            and not self._path_in_doubt
        )

    @property
    def _path_in_doubt(self) -> bool:
        return self.owner is None or self.owner.path_in_doubt()

    def _close_again(self, gathering: asyncio.Task[None]) -> None:
        if not gathering.cancelled():
            self._tasks.create(self.connection.close(), "close again")

    def _changed(self) -> None:
        if self.owner is not None and self.connected:
            self.owner.generation_changed(self)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                if self.restart and self.trickle:
                    # Gathering begins when the caller has the description.
                    await self._ready.wait()
                elif self.restart:
                    await self.gather()
                if not self._kept_sockets and self._waits_for_peer:
                    await self._wait_for_peer()
                await self.connection.connect()
                await self._confirm_nomination()
        except (ConnectionError, TimeoutError) as exc:
            if self.in_use:
                # The pair was valid, and then it could not be nominated.
                await self.connection.close()
            elif self.owner is not None:
                logger.info("%r failed: %s", self, str(exc) or "timed out")
                self.failed = True
                self.owner.generation_failed(self)
        else:
            self.connected = self._checked = True
            self._changed()
            self._settle()

    def _learn(self) -> None:
        # Before the checks no state follows from what is known of the peer.
        if self.started:
            self._settle()

    def _settle(self) -> None:
        if self.owner is not None:
            self.owner.generation_settled(self)

    def _takes_candidates(self) -> bool:
        # None is trickled after end-of-candidates (RFC 8838 section 14).
        if self._remote_candidates_end:
            logger.debug("%r ignores a candidate after end-of-candidates", self)
            return False
        self.choose_policy()
        return True

    def _tell_failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        if self.owner is not None:
            self.owner.generation_server_failed(self, event)

    def _tell_found(self, candidate: RTCIceCandidate) -> None:
        if self.owner is not None:
            self.owner.generation_found(self, candidate)

    async def _confirm_nomination(self) -> None:
        # A peer that had no answer yet has not taken note of the nomination (werift).
        # If it never gets the answer, the deadline ends this.
        delay = 0.05
        while self._waits_for_peer:
            self.connection.nominate_again()
            try:
                async with asyncio.timeout(delay):
                    await self._first_check.wait()
            except TimeoutError:
                delay = min(2 * delay, 1.0)

    async def _expire(self) -> None:
        # Consent begins with the nomination's end, and data is sent before (RFC 7675
        # section 5.1).
        await asyncio.sleep(self.connection.consent_lifetime)
        if self.connection.consent_time is None:
            await self.connection.close()

    async def _await_answer(self) -> None:
        await asyncio.sleep(max(LAST_ANSWER, 2 * self.connection.round_trip))
        if self.connection.asking and self.owner is not None:
            self.owner.generation_found_dead(self)

    async def _wait_for_peer(self) -> None:
        try:
            async with asyncio.timeout(PEER_CHECK_TIMEOUT):
                await self._first_check.wait()
        except TimeoutError:
            pass

    async def _watch(self) -> None:
        # The connection closes itself when consent expires.
        await self.connection.get_event()
        self.connection_closing()
