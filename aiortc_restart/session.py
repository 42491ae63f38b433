import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiortc
from aiortc.exceptions import InvalidStateError
from aiortc.sdp import MediaDescription, SessionDescription

from . import _aiortc
from ._secrets import reason, showable
from .ice import RTCIceTransport
from .negotiation import bundle, candidates, check, credentials, limits, rejection
from .negotiation.descriptions import (
    check_data_ports,
    check_fingerprints,
    described,
    make_showable,
    media_sections,
    parse,
)
from .negotiation.needed import Medium, NegotiationNeeded, is_needed
from .negotiation.numbers import MediaNumbers
from .negotiation.operations import Operation, OperationsChain
from .negotiation.rollback import AgreedState
from .negotiation.signaling import next_state
from .sections import SectionReader
from .transports import transport_of


class Superseded(Exception):
    """
    Another description was set while candidates were gathered for this one.
    """


@dataclass
class Step:
    """
    A description that is being applied.
    """

    side: str
    type: str
    state: str
    "The signaling state that it leads to."

    before: AgreedState
    operation: Operation
    transports: list[RTCIceTransport]
    "Those which there were before it."

    description: SessionDescription | None = None
    "What has been parsed of it."

    in_force: bool = False
    "Whether it has been applied: what fails afterwards does not undo it."

    rejected: set[str] = field(default_factory=set)
    "The mids of the m-sections that it rejects."

    replaced: _aiortc.Undone | None = None
    "What is left over of the remote offer in whose place it is applied."

    restore_sections: list[Callable[[], None]] = field(default_factory=list)
    "Have the description say again what it said, when the base has read it."

    rolled_back: bool = False
    "Whether it is a local offer which was undone while its candidates were gathered."

    tracks: list[aiortc.MediaStreamTrack] = field(default_factory=list)
    "The remote tracks that it adds, whose events follow the signaling state's."

    @property
    def applied(self) -> SessionDescription:
        assert self.description is not None
        return self.description


class Session(SectionReader):
    """
    The part of :class:`RTCPeerConnection` in which descriptions take effect: what the
    two sides have agreed, how that changes, and how it is undone.
    """

    def __init__(self, configuration: aiortc.RTCConfiguration | None) -> None:
        super().__init__(configuration)
        self._closing: asyncio.Task[None] | None = None
        # [[LocalIceCredentialsToReplace]]
        self._local_credentials_to_replace: set[tuple[str | None, str | None]] = set()
        self._needed = NegotiationNeeded(
            # Who waits for an answer's candidates is to send it before another offer.
            busy=lambda: len(self._operations) > 0,
            check=self._is_negotiation_needed,
            stable=lambda: self.signalingState == "stable" and self._closing is None,
            fire=self._fire_negotiation_needed,
        )
        self._operations = OperationsChain(emptied=self._needed.chain_emptied)
        # Which is waiting for the candidates of an answer.
        self._answering: Operation | None = None
        # How often descriptions have been set or rolled back.
        self._changes = 0
        # Whether a local description has ever been set.
        self._described = False
        self._numbers = MediaNumbers()
        # The local offers of this negotiation which wait for their candidates.
        self._offers: list[Step] = []
        # What the application has made, or has given a track or a channel.
        self._own: set[_aiortc.Endpoint] = set()
        # The last stable state, while the signaling state is another one.
        self._stable: AgreedState | None = None
        self._step: Step | None = None

    @property
    def signalingState(self) -> str:
        """
        The current signaling state.

        Possible values: `"stable"`, `"have-local-offer"`, `"have-remote-offer"`,
        `"have-local-pranswer"`, `"have-remote-pranswer"`, `"closed"`.

        When the state changes, the `"signalingstatechange"` event is fired.
        """
        return super().signalingState

    def emit(self, event: str, *args: Any, **kwargs: Any) -> bool:
        if event == "track" and self._step is not None:
            self._step.tracks += args
            return True
        return super().emit(event, *args, **kwargs)

    # A description is applied

    @contextmanager
    def _applying(
        self,
        side: str,
        description: aiortc.RTCSessionDescription,
        operation: Operation,
    ) -> Iterator[Step]:
        """
        Apply a description, or leave everything as it was.

        :raises InvalidStateError: if the signaling state forbids the description.
        :raises ValueError: if it cannot be parsed.
        """
        state = self._next_state(side, description.type)
        instead = (side, self.signalingState) == ("remote", "have-remote-offer")
        offer = parse(description) if instead else None
        if offer is None and side == "remote":
            limits.check_description(description.sdp)
        current = self._current_local, self._current_remote
        before = AgreedState(self._save(), current, self._numbers.copy())
        step = self._step = Step(
            side, description.type, state, before, operation, self._transports
        )
        self._hold_transports(True)
        for transport in step.transports:
            transport.prepare()
        try:
            if offer is not None:
                step.description = offer
                self._take_back(step, offer)
            with _aiortc.role_kept(self._dtls_transports):
                yield step
        except BaseException as exc:
            if not step.in_force:
                self._undo(step)
            if step.description is None and isinstance(exc, Exception):
                # Whatever the parser stumbled over.
                raise ValueError(
                    f"Cannot parse the {step.type}: {reason(exc)}"
                ) from showable(exc)
            raise

    def _end_step(self, step: Step) -> None:
        while step.restore_sections:
            step.restore_sections.pop()()
        self._show_hidden()
        self._step = None

    def _put_in_force(self, step: Step) -> None:
        """
        Take a description for applied: slots, ICE generations, signaling state, events
        (webrtc-pc #set-the-session-description). There is no `await` in it.
        """
        description = step.applied
        description.type = step.type
        step.in_force = True
        if self.signalingState == "stable":
            self._stable = step.before
        self._set_slots(step, description)
        changed = self._set_signaling_state(step.state)
        self._changes += 1
        self._described |= step.side == "local"
        self._end_step(step)

        for transport in {*step.transports, *self._transports}:
            transport.settle()
        self._tell_held_states()
        self._release_transports()
        if step.replaced is not None:
            if self.sctp not in self._own:
                self._let_go_of_sctp()
            self._stop_unused_transports()
        if step.type != "offer":
            for transport in self._transports:
                if transport.pending_remote_parameters is not None:
                    transport.commit(answerer=step.side == "local")
                elif transport.restarting:
                    transport.adopt()
            self._silence_stopped()
        if step.state == "stable":
            self._finish_negotiation()
        self._release_candidates(step.before.current[1])
        if changed:
            self.emit("signalingstatechange")
        if step.replaced is not None:
            for track in step.replaced.tracks:
                _aiortc.end_track(track)
        for track in step.tracks:
            self.emit("track", track)

    def _set_slots(self, step: Step, description: SessionDescription) -> None:
        # The base has put it where it belongs in its own, simpler, view.
        local = step.before.connection.pending_local
        remote = step.before.connection.pending_remote
        if step.side == "local":
            local = description
        else:
            remote = description
        if step.type == "answer":
            self._set_current_descriptions(local, remote)
            self._set_pending_descriptions(None, None)
        else:
            self._set_current_descriptions(*step.before.current)
            self._set_pending_descriptions(local, remote)

    def _finish_negotiation(self) -> None:
        """
        An answer has made the signaling state stable.
        """
        self._stable = None
        self._stop_rejected()
        self._offers = []
        if not self._local_credentials_to_replace & credentials.credentials(
            [self._current_local]
        ):
            self._local_credentials_to_replace = set()
        self._stop_unused_transports()
        self._needed.reset()

    # It is undone

    async def _roll_back(self, side: str) -> None:
        """
        Go back to the last stable state (RFC 9429 section 5.7).

        :raises InvalidStateError: if the signaling state forbids it.
        """
        state = self._next_state(side, "rollback")
        stable, self._stable = self._stable, None
        assert stable is not None
        self._set_signaling_state(state)
        self._hold_transports(True)
        undone = self._put_back(stable)
        self._reset_transports()
        self._release_transports()
        self._changes += 1
        for step in self._offers:
            step.rolled_back = True
        self._offers = []
        self._stop_unused_transports()
        self._needed.reset()
        await self._stop_undone(undone)
        self.emit("signalingstatechange")
        for track in undone.tracks:
            _aiortc.end_track(track)

    def _take_back(self, step: Step, offer: SessionDescription) -> None:
        """
        Put everything back to the last stable state before an offer of the peer's is
        applied in the place of another: the peer has rolled that back. What both offers
        describe keeps its m-section, its track and its credentials.
        """
        assert self._stable is not None
        again = self._sections_kept(offer)
        # Whether the connection needs it is known when the offer has been applied.
        kept = {*self._own, self.sctp} if self.sctp is not None else self._own
        step.replaced = self._put_back(
            self._stable,
            kept,
            {x: self._track_kept(x, media) for x, media in again.items()},
        )
        before = step.before.connection
        self._set_pending_descriptions(before.pending_local, before.pending_remote)
        added = [x for x in self._transports if x not in step.transports]
        for transport in added:
            transport.prepare()
        step.transports += added
        self._hold_transports(True)
        # What this leads to is nobody's business: the offer is about to change it.
        self._held_states.clear()
        self._forget_offer(step.transports, again)

    def _forget_offer(
        self,
        transports: list[RTCIceTransport],
        again: dict[_aiortc.Endpoint, MediaDescription],
    ) -> None:
        """
        Have transports forget a remote offer, but for the credentials which another one
        repeats.

        :param again: The m-sections of that one which both have.
        """
        repeated = {
            (transport_of(_aiortc.dtls_of(x)), credentials.credential_pair(media.ice))
            for x, media in again.items()
        }
        negotiated = {transport_of(_aiortc.dtls_of(x)) for x in self._remote_ice}
        for transport in transports:
            pending = credentials.credential_pair(transport.pending_remote_parameters)
            first = credentials.credential_pair(transport.remote_parameters)
            if (transport, pending) not in repeated:
                transport.discard()
            if transport not in negotiated and (transport, first) not in repeated:
                transport.forget_remote()

    def _put_back(
        self,
        state: AgreedState,
        kept: Collection[_aiortc.Endpoint] | None = None,
        again: Mapping[_aiortc.Endpoint, aiortc.MediaStreamTrack | None] | None = None,
    ) -> _aiortc.Undone:
        kept = self._own if kept is None else kept
        undone = self._restore(state.connection, kept, again)
        self._set_current_descriptions(*state.current)
        self._numbers = state.numbers.copy()
        return undone

    def _undo(self, step: Step) -> None:
        """
        Put everything back to what it was before a description which has failed.
        """
        self._end_step(step)
        if self._closing is not None:
            return
        for transport in step.transports:
            transport.revert()
        self._put_back(step.before)
        self._release_transports()
        self._stop_unused_transports()

    async def _stop_undone(self, undone: _aiortc.Undone) -> None:
        for transceiver in undone.transceivers:
            # None of them has been started, so that nothing is waited for.
            await transceiver.stop()

    def _stop_unused_transports(self, all: bool = False) -> None:
        """
        Stop the transports which nothing uses, nor would after a rollback.

        :param all: Whether to stop all, as the connection is closed.
        """
        kept = set() if all else self._useful_transports(self._stable is not None)
        if self._stable is not None and not all:
            kept |= {*self._stable.connection.transports}
        for dtls in self._made_transports - kept:
            self._made_transports.discard(dtls)
            self._stopping.create(self._stop_transport(dtls), "stop transport")

    # Hooks

    async def _gather(self) -> None:
        step = self._step
        assert step is not None
        self._put_in_force(step)
        if self._settings.iceTrickle and self.canTrickleIceCandidates is not False:
            self._trickle()
            return
        changes = self._changes
        if step.type == "offer":
            self._offers.append(step)
        if not all(x.gathered for x in self._transports):
            # A server that does not answer is not to hold back the peer's next offer.
            if step.type != "offer":
                self._answering = step.operation
            step.operation.release()
        gathering = self._tasks.create(self._gather_candidates(), "gather")
        # Who waits may be cancelled; the description is in force.
        try:
            await asyncio.wait([gathering])
        finally:
            self._offers = [x for x in self._offers if x is not step]
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")
        gathering.result()
        if step.rolled_back:
            # Otherwise the caller would send what is in the slot now.
            raise InvalidStateError(
                "The offer was rolled back while its candidates were gathered"
            )
        if changes != self._changes:
            # The base would put the older description in the place of the newer.
            raise Superseded

    async def _gather_candidates(self) -> None:
        await super()._gather()
        self._start_transports()

    def _trickle(self) -> None:
        """
        Gather candidates, and do not wait for them.
        """
        for transport in self._transports:
            transport.begin_gathering()
        self._start_transports()

    def _transceiver_changed(self) -> None:
        self._needed.update()

    def _validate_description(
        self, description: SessionDescription, is_local: bool
    ) -> None:
        step = self._step
        assert step is not None
        step.description = description
        make_showable(description)
        step.rejected = rejection.rejected_mids(description)
        if not is_local:
            check.check_formats(description)
            check.complete(description)
            step.rejected, complete = self._complete_sections(description)
            step.restore_sections += [check.put_extensions_aside(description), complete]
        restore = bundle.share_tag_section(
            description, self._bundle_owners(description, step.rejected)
        )
        if not is_local:
            step.restore_sections += [restore, candidates.put_names_aside(description)]
        for media in description.media:
            credentials.validate(media)
        check_fingerprints(description)
        check_data_ports(description)
        if not is_local:
            check.check_media(description)
        self._check_sections(description)
        super()._validate_description(description, is_local)
        if is_local:
            if step.type == "offer":
                self._dissociate_unoffered(description)
            self._apply_local_credentials(description)
            if step.type != "offer":
                self._hide_unoffered()
        else:
            self._apply_remote_credentials(description, step.rejected)
            self._hide_owners()
            self._hide_stopped()
        self._numbers.learn(description, step.rejected)
        if step.type == "pranswer":
            # To the base it is an answer, of which the signaling state and the slot are
            # others.
            description.type = "answer"

    # What a description says

    def _check_sections(self, description: SessionDescription) -> None:
        free = rejection.rejected_mids(self._current_local)
        free |= rejection.rejected_mids(self._current_remote)
        check.check_same_sections(description, self._current_remote, free)

    def _dissociate_unoffered(self, offer: SessionDescription) -> None:
        """
        Have what only the local offer before it has, in whose place it comes, be
        offered again later.
        """
        if self._stable is None:
            return
        agreed = self._stable.connection
        offered = {(media.rtp.muxId, media.kind) for media in offer.media}
        for transceiver in self.getTransceivers():
            saved = agreed.transceivers.get(transceiver)
            new = saved is None or saved.mid is None
            if new and (transceiver.mid, transceiver.kind) not in offered:
                _aiortc.dissociate(transceiver)
        new = agreed.sctp is None or agreed.sctp[1].mid is None
        if new and self.sctp and (self.sctp.mid, "application") not in offered:
            self.sctp.mid = self._sctp_mline_index = None
        # Those which were stopped have gone with their m-sections.
        self._keep_used_transports()

    def _complete_remote(self, step: Step) -> None:
        """
        Add to what the base has made of a remote description, and put it in force.
        """
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")
        description = step.description
        self._join_bundle(description)
        self._show_owners()
        # aiortc also discards the bundle's own transport if the BUNDLE-tag shares it.
        self._keep_used_transports()
        endpoints = self._endpoints_by_mid()
        for media in media_sections(description):
            endpoint = endpoints.get(media.rtp.muxId)
            if endpoint is None or media.ice is None:
                continue
            if isinstance(endpoint, aiortc.RTCRtpTransceiver):
                _aiortc.drop_repeated_codecs(endpoint)
            if media.rtp.muxId in step.rejected:
                # Nothing is to be started for it.
                self._remote_ice.pop(endpoint, None)
                self._remote_dtls.pop(endpoint, None)
            else:
                # Transports which it has added know the peer's credentials, too.
                transport = transport_of(_aiortc.dtls_of(endpoint))
                transport.describe_remote(media.ice)
        # One that was bundled away, and that others still have, is to begin anew.
        negotiated = {transport_of(_aiortc.dtls_of(x)) for x in self._remote_ice}
        for transport in {transport_of(_aiortc.dtls_of(x)) for x in self._endpoints()}:
            if transport not in negotiated:
                transport.forget_remote()
        self._put_in_force(step)
        if description is not None:
            self._complete_candidates(description, step.rejected)

    # Whether negotiation is needed

    def _fire_negotiation_needed(self) -> None:
        self.emit("negotiationneeded")

    def _is_negotiation_needed(self) -> bool:
        # It is not rejected, and inactive will do.
        tag = bundle.bundled_mids(self._current_local)[:1]
        return is_needed(
            replace_credentials=bool(self._local_credentials_to_replace),
            data_channels=self.sctp in self._own,
            media=[
                Medium(x.mid, "inactive")
                if x.stopped and x.mid in tag
                else Medium(x.mid, x.direction, x.stopped)
                for x in self.getTransceivers()
            ],
            local=described(self._current_local),
            remote=described(self._current_remote),
        )

    def _next_state(self, side: str, type: str) -> str:
        """
        Return the signaling state that a description leads to.

        :raises InvalidStateError: if the present one forbids it.
        """
        state = next_state(self.signalingState, side, type)
        if state is None:
            raise InvalidStateError(
                f'Cannot handle {type} in signaling state "{self.signalingState}"'
            )
        return state
