import asyncio
import logging
from collections.abc import Sequence

import aioice
import aioice.ice
import aiortc
from aiortc.exceptions import InvalidStateError, OperationError

from .candidate import (
    RTCIceCandidatePair,
    candidate_from_aioice,
    is_end_of_candidates,
)
from .generation import IceGeneration
from .keeper import GenerationKeeper

logger = logging.getLogger(__name__)


class RTCIceTransport(GenerationKeeper):
    """
    The :class:`RTCIceTransport` interface allows an application access to
    information about the Interactive Connectivity Establishment (ICE)
    transport over which packets are sent and received.

    It outlives ICE restarts: several generations may be alive behind it. It sends on
    the newest one which is connected, and receives from all.

    :param gatherer: An :class:`RTCIceGatherer`.
    :param disconnectedTimeout: After how many seconds in which nothing has come from
                                the peer it is `"disconnected"`. `None` for never.
    :param restartTimeout: When a restart that does not succeed is given up, in seconds
                           from the moment at which both descriptions are known (RFC
                           8863 section 3). `None` for never.
    :param consentInterval: Seconds between two consent requests. `None` for aioice's
                            setting.
    :param consentTimeout: How long consent lasts after a response, in seconds. `None`
                           for aioice's settings.
    """

    @property
    def agreed(self) -> bool:
        """
        Whether both sides have agreed on its credentials.
        """
        return self._agreed or self.started

    @property
    def gathered(self) -> bool:
        """
        Whether the generation which the next description describes has all candidates.
        """
        return self._gatherer.generation.gathered

    @property
    def local_candidates(self) -> list[aiortc.RTCIceCandidate]:
        """
        The local candidates of the generation which has been negotiated last.
        """
        return self._current.local_candidates

    @property
    def local_parameters(self) -> aiortc.RTCIceParameters:
        """
        The local credentials which have been negotiated last.
        """
        return self._current.local

    @property
    def outdated(self) -> bool:
        """
        Whether the candidates of the generation which has been negotiated last are of
        other servers, or another policy, than :meth:`configure` was told of.
        """
        return self._current.outdated

    @property
    def pending_remote_parameters(self) -> aiortc.RTCIceParameters | None:
        """
        The peer's credentials in the restart which is pending, or `None`.
        """
        return self._pending.remote if self._pending is not None else None

    @property
    def ready(self) -> bool:
        """
        Whether the checks of the generation which has been negotiated last may begin.
        """
        return self._current.ready

    @property
    def remote_parameters(self) -> aiortc.RTCIceParameters | None:
        """
        The peer's credentials which have been negotiated last, or `None`.
        """
        return self._current.remote

    @property
    def restarted(self) -> bool:
        """
        Whether the latest generation which the peer has described is that of a restart.
        """
        return self._latest.restart

    @property
    def restarting(self) -> bool:
        """
        Whether a restart has been begun by a description and not been answered yet.
        """
        return self._pending is not None

    @property
    def started(self) -> bool:
        """
        Whether the peer's credentials are in use, and not only described.
        """
        return self._current.started

    async def addRemoteCandidate(
        self, candidate: aiortc.RTCIceCandidate | None
    ) -> None:
        """
        Add a remote candidate.

        A candidate with a `usernameFragment` is added to the generation which it names,
        another one to the latest. What comes after the end of a generation's candidates
        is ignored (RFC 8838 section 14).

        :param candidate: The new candidate, or `None` or one whose attribute is empty
                          to signal end of candidates.

        :raises OperationError: if the candidate's `usernameFragment` is not in a remote
                                description which is in force (webrtc-pc
                                #dom-peerconnection-addicecandidate).
        """
        if self.state == "closed":
            return
        username = getattr(candidate, "usernameFragment", None)
        generation = self._generation_of(username)
        if candidate is None or is_end_of_candidates(candidate):
            generation.end_remote_candidates(named=username is not None)
        else:
            await generation.add_remote_candidate(candidate)

    def expects(self, candidate: aiortc.RTCIceCandidate | None) -> bool:
        """
        Whether more candidates of a candidate's generation are taken.
        """
        username = getattr(candidate, "usernameFragment", None)
        return not self._generation_of(username).remote_candidates_end

    def knows(self, username: str | None) -> bool:
        """
        Whether a generation takes candidates, or would but for their end.

        :param username: Its remote username fragment, or `None` for the latest.
        """
        return self._find_generation(username) is not None

    def getRemoteCandidates(self) -> list[aiortc.RTCIceCandidate]:
        """
        Retrieve the list of candidates associated with the remote
        :class:`RTCIceTransport`.
        """
        return [
            candidate_from_aioice(x, self._current.remote)
            for x in self._current.connection.remote_candidates
        ]

    def getSelectedCandidatePair(self) -> RTCIceCandidatePair | None:
        """
        Return the pair of candidates on which packets are sent, or `None`.

        When it changes, the `"selectedcandidatepairchange"` event is fired.

        :rtype: :class:`RTCIceCandidatePair`
        """
        return self._selected

    async def start(self, remoteParameters: aiortc.RTCIceParameters) -> None:
        """
        Initiate connectivity checks, and wait until they have succeeded or failed.

        :param remoteParameters: The :class:`RTCIceParameters` associated with
                                  the remote :class:`RTCIceTransport`.
        """
        if self.state == "closed":
            raise InvalidStateError("RTCIceTransport is closed")
        if not self.started:
            # Without trickle it fails when all pairs have; else more may come for ever.
            timeout = self._restart_timeout if self._current.trickle else None
            self._current.start(remoteParameters, timeout=timeout)
            self._update_state()
        await self._start_settled.wait()

    async def stop(self) -> None:
        """
        Irreversibly stop the :class:`RTCIceTransport`.
        """
        if self.state == "closed":
            return
        for handle in self._retired.values():
            handle.cancel()
        generations = self.generations
        self._recv = self._refuse_receive
        self._send = self._refuse_send
        self._gatherer.inbox.close()
        self._set_state("closed")
        self._start_settled.set()
        for generation in generations:
            self._close(generation)
        await self._closing.join()

    # What the negotiation does to it. Each of them takes effect at once.

    def propose(
        self,
        local: aiortc.RTCIceParameters | None = None,
        remote: aiortc.RTCIceParameters | None = None,
    ) -> None:
        """
        Take note of what a description says that is being negotiated. New credentials
        begin a restart in the place of any that is pending; the negotiated ones end it.
        The call goes on as it is, and nothing is gathered or sent yet.

        :param local: Our credentials, in a description of ours. Beside those of the
                      peer's offer, what we use if that begins a restart.
        :param remote: The peer's credentials, in a description of the peer's.

        :raises ValueError: if the credentials do not satisfy RFC 8839 section 5.4.
        """
        if remote is None:
            assert local is not None
            self._propose_local(local)
        elif local is None or not self.agreed:
            if (
                local is not None
                and credentials_differ(remote, self._current.remote)
                and credentials_differ(local, self._current.local)
            ):
                self._reset(local)
            self._describe_remote(remote)
        elif not credentials_differ(remote, self.remote_parameters):
            self._discard()
        elif credentials_differ(remote, self.pending_remote_parameters):
            self._begin(local, remote)

    def take_restart(self, other: "RTCIceTransport") -> None:
        """
        Go on with the restart that another transport has proposed: the peer which
        answers it is not that one's. Nothing has been negotiated for this one yet.
        """
        generation = other._pending  # noqa: SLF001 - same class
        if generation is None:
            return
        other._release_pending()  # noqa: SLF001 - same class
        previous, self._current = self._current, generation
        # To this transport it is the first one.
        generation.restart = False
        generation.owner = self
        self._connection = generation.connection
        self._gatherer.take(generation)
        self._close(previous)

    def withdraw(self, local: aiortc.RTCIceParameters | None = None) -> None:
        """
        Go back to what has been negotiated last: the descriptions since have been
        rolled back.

        :param local: Our credentials from now on, if nothing has been negotiated.
                      `None` if they are to stay.
        """
        self._discard()
        if not self.agreed:
            self._current.forget_remote()
            if local is not None:
                self._reset(local)

    def agree(self, *, answerer: bool) -> None:
        """
        Take what has been proposed for negotiated: the checks of a restart begin.

        :param answerer: Whether the peer has offered it.
        """
        if self.pending_remote_parameters is not None:
            self._commit(answerer)
        elif self._pending is not None:
            self._adopt()
        self._agreed |= self._current.remote is not None

    def decide_role(self, controlling: bool | None) -> None:
        """
        Have the role which descriptions say (RFC 8445 section 6.1.1), unless one is in
        use, which may have been changed to end a conflict.

        :param controlling: `None` for none yet.
        """
        self._role_set = controlling is not None
        if not self.started:
            self._connection.ice_controlling = bool(controlling)
            for generation in self.generations:
                generation.connection.ice_controlling = bool(controlling)

    def begin_gathering(self) -> None:
        """
        Gather the candidates of the generation which the next description describes.
        """
        self._gatherer.begin_gathering()

    def settle_trickle(self) -> None:
        """
        Have the generation which the next description describes trickle, or not, as
        that says, whatever the configuration is when gathering begins.
        """
        self._gatherer.settle_trickle()

    def complete_remote_candidates(self, username: str | None) -> None:
        """
        Take note that the peer has described all candidates of a generation.

        :param username: Its remote username fragment.
        """
        for generation in (self._pending, self._current):
            if generation and generation.remote is not None:
                if generation.remote.usernameFragment == username:
                    generation.remote_candidates_known()

    def configure(
        self,
        iceServers: list[aiortc.RTCIceServer] | None,
        iceTransportPolicy: aiortc.RTCIceTransportPolicy,
        restartTimeout: float | None,
        disconnectedTimeout: float | None,
        consentInterval: float | None,
        consentTimeout: float | None,
        trickle: bool,
    ) -> None:
        """
        Change the configuration: for gathering, and for restarts, which have not begun,
        for what is called silence, and for consent.
        """
        self._gatherer.configure(iceServers, iceTransportPolicy, trickle)
        self._restart_timeout = restartTimeout
        self._disconnected_timeout = disconnectedTimeout
        if self._active is not None:
            self._active.allow_silence(disconnectedTimeout)
        consent = self._gatherer.consent
        if (consent.interval, consent.timeout) != (consentInterval, consentTimeout):
            before = [
                (x.connection, x.connection.consent_lifetime) for x in self.generations
            ]
            consent.interval, consent.timeout = consentInterval, consentTimeout
            for connection, lifetime in before:
                connection.consent_times_changed(lifetime)

    def expect_no_candidates(self) -> None:
        """
        Take note that the peer has probably told all candidates of the latest
        generation. Should more come, they are taken.
        """
        self._latest.remote_candidates_known()

    def gathered_by(
        self, username: str | None
    ) -> tuple[list[aiortc.RTCIceCandidate], bool] | None:
        """
        Return what a generation has gathered so far, and whether that is all.

        :param username: Its local username fragment.
        """
        for generation in (self._pending, self._current):
            if generation and generation.local.usernameFragment == username:
                return generation.local_candidates, generation.gathered
        return None

    def take_candidates(
        self, candidates: Sequence[aiortc.RTCIceCandidate], complete: bool
    ) -> None:
        """
        Add the candidates of the peer's latest description which have addresses.

        :param complete: Whether the description says that there are no more.
        """
        if self.state == "closed":
            return
        for candidate in candidates:
            self._latest.take_remote_candidate(candidate)
        if complete:
            self._latest.end_remote_candidates()

    def trickles(self, username: str | None) -> bool | None:
        """
        Return whether a generation takes candidates one by one, or `None` if that is
        not settled, as it does not gather yet or does not exist.

        :param username: Its local username fragment.
        """
        for generation in (self._pending, self._current):
            if generation and generation.local.usernameFragment == username:
                return generation.trickle if generation.gathering else None
        return None

    # Private

    @property
    def _latest(self) -> IceGeneration:
        """
        The generation of the remote description which was applied last.
        """
        if self._pending is not None and self._pending.remote is not None:
            return self._pending
        return self._current

    def _adopt(self) -> None:
        """
        Make the pending restart the negotiated one of a transport that has no peer, as
        all its m-sections have been rejected. A path that it has is left alone.
        """
        generation, previous = self._pending, self._current
        assert generation is not None
        if previous.started:
            self._discard()
            return
        self._pending = None
        self._current = generation
        self._connection = generation.connection
        self._close(previous)

    def _begin(
        self, local: aiortc.RTCIceParameters, remote: aiortc.RTCIceParameters | None
    ) -> None:
        generation = self._create_generation(local)
        generation.remote = remote
        self._replace_pending(generation)

    def _commit(self, answerer: bool) -> None:
        """
        Make the pending restart the negotiated one, and begin its checks.
        """
        generation, previous = self._pending, self._current
        assert generation is not None
        remote = generation.remote
        assert remote is not None
        self._pending = None
        self._current = generation
        if previous is not self._active:
            self._close(previous)
        previous.supersede()
        self._gatherer.update_state()
        if self._active is None:
            # Applications look there for the connection which is in use.
            self._connection = generation.connection
        else:
            # Its answer is needed only when the call is to be switched.
            asyncio.get_running_loop().call_soon(self._active.ask)
            if self._active.out and self._selected_pair is not None:
                generation.connection.dead_path = (
                    self._selected_pair.local_addr[0],
                    self._selected_pair.remote_addr[0],
                )
        kept = _addresses(previous.connection.remote_candidates) & _addresses(
            generation.connection.remote_candidates
        )
        generation.start(
            remote,
            answerer=answerer,
            kept_sockets=bool(kept),
            timeout=self._restart_timeout,
        )
        self._update_state()

    def _create_generation(
        self, local: aiortc.RTCIceParameters, restart: bool = True
    ) -> IceGeneration:
        generation = self._gatherer.create_generation(
            local, self._connection.ice_controlling, restart
        )
        generation.connection.tie_breaker = self._tie_breaker
        generation.owner = self
        return generation

    def _describe_remote(self, remote: aiortc.RTCIceParameters) -> None:
        """
        Take note of the peer's credentials, before its candidates are added.
        """
        generation = self._pending or self._current
        if generation.started:
            return
        if generation.remote is not None and credentials_differ(
            remote, generation.remote
        ):
            # Another offer has taken the place of the one before.
            generation.forget_remote()
        generation.remote = remote

    def _discard(self) -> None:
        if self._pending is not None:
            self._replace_pending(None)

    def _find_generation(self, username: str | None) -> IceGeneration | None:
        latest = self._latest
        # Before the remote description any may be the right one.
        if username is None or latest.remote is None:
            return latest
        for generation in (latest, self._current):
            remote = generation.remote
            if remote is not None and remote.usernameFragment == username:
                return generation
        return None

    def _generation_of(self, username: str | None) -> IceGeneration:
        """
        Return the generation whose remote username fragment this is, or the latest.

        :raises OperationError: if there is no such generation.
        """
        generation = self._find_generation(username)
        if generation is None:
            raise OperationError(
                f'Cannot add a candidate of ICE generation "{username}": it is in no '
                "remote description which is in force"
            )
        return generation

    def _propose_local(self, local: aiortc.RTCIceParameters) -> None:
        if not credentials_differ(local, self.local_parameters):
            self._discard()
        elif not self.agreed and self._current.remote is None:
            self._reset(local)
        elif self._pending is None or credentials_differ(local, self._pending.local):
            self._begin(local, self.pending_remote_parameters)

    def _release_pending(self) -> None:
        self._pending = None
        self._gatherer.show(self._current)
        self._order_generations()

    def _reset(self, local: aiortc.RTCIceParameters) -> None:
        """
        Forget a first generation with what it has gathered.
        """
        if self.started or self.state == "closed":
            return
        self._discard()
        previous = self._current
        self._current = self._create_generation(local, restart=False)
        self._current.connection.ice_controlling = previous.connection.ice_controlling
        self._connection = self._current.connection
        self._gatherer.show(self._current)
        self._close(previous)

    def _replace_pending(self, generation: IceGeneration | None) -> None:
        previous, self._pending = self._pending, generation
        self._gatherer.show(generation or self._current)
        self._order_generations()
        if previous is not None:
            self._close(previous)


def credentials_differ(
    a: aiortc.RTCIceParameters, b: aiortc.RTCIceParameters | None
) -> bool:
    """
    Whether either of username fragment and password is another (RFC 8445 section 9).
    """
    return b is None or (a.usernameFragment, a.password) != (
        b.usernameFragment,
        b.password,
    )


def _addresses(candidates: list[aioice.Candidate]) -> set[tuple[str, int]]:
    # All candidates of TCP connections which the peer would open have one port, which
    # says nothing (RFC 6544 section 4.5).
    return {(x.host, x.port) for x in candidates if x.transport.lower() == "udp"}
