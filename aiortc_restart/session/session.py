from collections.abc import Callable
from dataclasses import dataclass

import aiortc
from aiortc import RTCBundlePolicy, RTCSctpTransport
from aiortc.sdp import SessionDescription

from .. import _aiortc
from .._aiortc import Descriptions, Endpoint, Slots
from .._async import Tasks
from ..ice import create_credentials
from ..negotiation import check, plan
from ..negotiation.agreement import Agreement
from ..negotiation.needed import Medium, is_needed
from ..negotiation.operations import Operation
from ..negotiation.places import addresses
from ..negotiation.present import Present
from ..negotiation.sections import credentials, described, negotiated_mids
from ..negotiation.signaling import OFFERED
from ..rtcconfiguration import RTCConfiguration
from .candidates import Candidates
from .creating import Creator
from .proposals import Proposals, describing
from .states import States
from .transports import Transports
from .waiting import Waiting


@dataclass(eq=False)
class Stable:
    """
    The last stable state, to which a rollback leads (RFC 9429 section 4.1.10.2,
    webrtc-pc #dfn-last-stable-state).
    """

    agreement: Agreement
    descriptions: Descriptions
    rolled_back: bool = False
    "Whether a rollback has led to it."


class Session:
    """
    What the two sides have agreed, how that changes, and how it is rolled back.

    A description is planned, which changes nothing, and then committed, which neither
    waits nor fails.
    """

    def __init__(
        self,
        slots: Slots,
        configuration: RTCConfiguration,
        tasks: Tasks,
        stable_again: Callable[[], None],
    ) -> None:
        self.added: set[Endpoint] = set()
        "The transceivers which addTransceiver() has made."
        self.agreement = Agreement()
        "What the descriptions in force say."
        self.credentials_to_replace: set[tuple[str | None, str | None]] = set()
        "[[LocalIceCredentialsToReplace]]"
        self.described = False
        "Whether a local description has ever been set."
        self.negotiates_itself = False
        "Whether the application has ever listened to `negotiationneeded`."
        self.own: set[Endpoint] = set()
        "What the application has made, or has given a track or a channel."
        self.stable: Stable | None = None
        "The last stable state, while the signaling state is another one."
        self.offered: Agreement | None = None
        "What the offer said which is being answered."
        # What addTransceiver() has made and an offer of ours has had. aiortc has no
        # rollback: where there was one, the application goes on to offer them.
        self._offered: set[Endpoint] = set()
        self._slots = slots
        self._stable_again = stable_again
        self._tasks = tasks
        self.candidates = Candidates(self, slots, tasks)
        self.transports = Transports(self, slots, configuration, tasks)
        self.states = States(self, slots)
        self.creator = Creator(self, slots, self.transports)
        self.waiting = Waiting(self, slots, tasks)
        self._proposals = Proposals(slots, self.transports)
        self.configure(configuration)

    @property
    def agreed(self) -> Agreement:
        """
        What has been answered.
        """
        return self.stable.agreement if self.stable is not None else self.agreement

    @property
    def answered(self) -> Agreement:
        """
        What has been answered, or is answered for the time being.
        """
        offering = self._slots.signaling_state in OFFERED
        return self.agreed if offering else self.agreement

    @property
    def tag(self) -> str | None:
        """
        The BUNDLE-tag which has been negotiated, if something else depends on it.
        """
        return self.agreed.needed_tag(self.bundled)

    @property
    def bundled(self) -> list[str]:
        """
        What has been bundled by negotiation, the BUNDLE-tag first.
        """
        descriptions = self._slots.descriptions
        return negotiated_mids(descriptions.current_local, descriptions.current_remote)

    @property
    def is_negotiation_needed(self) -> bool:
        descriptions = self._slots.descriptions
        # A stopped transceiver whose section is the BUNDLE-tag stays inactive.
        tag = self.tag
        return is_needed(
            replace_credentials=bool(self.credentials_to_replace),
            data_channels=self._slots.data in self.own,
            media=[
                Medium(x.mid, "inactive")
                if x.stopped and tag is not None and x.mid == tag
                else Medium(
                    x.mid, x.direction, x.stopped, _aiortc.stream_set_for(x.sender)
                )
                for x in self._slots.transceivers
            ],
            local=described(descriptions.current_local),
            remote=described(descriptions.current_remote),
        )

    def configure(self, configuration: RTCConfiguration) -> None:
        """
        Use another configuration from now on (webrtc-pc #set-the-configuration).
        """
        self.transports.configure(configuration)
        self.states.configure(configuration.iceFailedTimeout)

    def adopt(self, endpoint: Endpoint) -> None:
        """
        Take note of what the application has made.
        """
        self.transports.origins[endpoint] = _aiortc.dtls_of(endpoint)
        self.transports.use(self.agreement)
        self.states.update()

    def dismiss(self, transceiver: aiortc.RTCRtpTransceiver) -> None:
        """
        Do without the transport of a transceiver which has been stopped before it had
        an m-section, unless something else shares it.
        """
        if _aiortc.is_gone(transceiver):
            self.transports.use(self.agreement)
            self.stop_unused()
            self.states.update()

    def stop_unused(self) -> None:
        """
        Stop the transports which nothing uses, nor would after a rollback.
        """
        kept: set[aiortc.RTCDtlsTransport] = set()
        if self.creator.spare_data is not None:
            kept.add(self.creator.spare_data.transport)
        if self.stable is not None:
            kept |= self.stable.agreement.transports
        else:
            self.transports.forget_origins(self.agreement)
        self.transports.stop_all_but(kept)

    # From a description to a plan, which changes nothing

    def plan(self, side: str, description: SessionDescription) -> Agreement:
        """
        Return what a description would lead to. An offer of the peer's that meets ours
        is planned as if ours had been rolled back.

        :raises ValueError: if the description is not valid.
        """
        descriptions = self._slots.descriptions
        is_offer = description.type == "offer"
        check.check(description, side, descriptions, self.agreed)
        glare = side == "remote" and is_offer and descriptions.pending_local is not None
        now, provisional = self.agreed if glare else self.agreement, None
        if not is_offer and self.offered is not None:
            # What a provisional answer has rejected may be accepted.
            now, provisional = self.offered, self.agreement
        present = self._present(now, provisional)
        if side == "remote":
            agreement = plan.remote(description, present)
        elif is_offer:
            agreement = plan.local_offer(description, present)
        else:
            agreement = plan.local_answer(description, present)
        if not is_offer:
            replaced = agreement.replaced if side == "remote" else {}
            self._proposals.check_restart(
                side, describing(description, agreement), replaced
            )
        return agreement

    # A plan takes effect

    def commit(
        self,
        side: str,
        description: SessionDescription,
        agreement: Agreement,
        state: str,
    ) -> None:
        """
        Have a description take effect: the agreement, the slots, ICE, the signaling
        state, and then the events (webrtc-pc #set-the-session-description).

        :param agreement: What it was planned to lead to.
        :param state: The signaling state that it leads to.
        """
        before, descriptions = self.agreement, self._slots.descriptions
        changed = state != self._slots.signaling_state
        if self.stable is None:
            self.stable = Stable(before, descriptions)
        local = side == "local"
        # With trickle, gathering is told of when this step has ended (webrtc-pc
        # #set-the-session-description).
        later = local and self.transports.configuration.iceTrickle
        with self.states.quiet(gathers=local, later=later):
            self._exchange(agreement)
            sources = describing(description, agreement)
            self._proposals.decide_roles(agreement)
            if local:
                self._proposals.propose_local(description, agreement, sources)
            else:
                self._proposals.propose_remote(description, agreement, sources)
            self._slots.show_descriptions(
                descriptions.with_description(side, description), state
            )
            self.creator.forget()
            if description.type == "offer":
                self.offered = agreement
                if local:
                    self._offered |= self.added & agreement.by_endpoint.keys()
            self.described |= local
        if description.type != "offer":
            for transport in self.transports:
                transport.agree(answerer=local)
        if not local:
            self.states.show_new(before)
        if state == "stable":
            self._finish()
        else:
            self.stop_unused()
        self.candidates.release(descriptions.current_remote)
        if changed:
            self._slots.emit("signalingstatechange")
        self._tell_tracks(before, agreement)
        self.transports.start()
        if not local:
            self.candidates.complete(description, sources)

    def roll_back(self, state: str, step: Operation | None = None) -> None:
        """
        Go back to the last stable state (RFC 9429 section 5.7).

        :param state: The signaling state that this leads to.
        :param step: What tells of the gathering state when its caller has seen its end.
        """
        before, descriptions = self.agreement, self._slots.descriptions
        stable = self.stable or Stable(before, descriptions.stable())
        self.stable = self.offered = None
        self.creator.forget()
        if step is not None:
            step.ended.add_done_callback(lambda _: self.states.update_gathering())
        with self.states.quiet(later=step is not None):
            self._exchange(stable.agreement)
            self._slots.show_descriptions(stable.descriptions, state)
            self._proposals.withdraw(stable.agreement)
        stable.rolled_back = True
        self.stop_unused()
        self._slots.end_disconnected()
        self._stable_again()
        self._slots.emit("signalingstatechange")
        self._tell_tracks(before, stable.agreement)
        self.transports.start()

    # Private

    def _exchange(self, agreement: Agreement) -> None:
        """
        Have another agreement in the place of the present one.
        """
        before, self.agreement = self.agreement, agreement
        if self.creator.spare_data in agreement.by_endpoint:
            self.creator.take_spare_data()
        sections = agreement.by_endpoint
        dropped = {x for x in before.made if x not in sections and x not in self.own}
        self.transports.remember_origins(agreement)
        self._slots.show(agreement, dropped, self.transports.origins)
        self.transports.use(agreement)
        for endpoint in dropped:
            if isinstance(endpoint, _aiortc.RTCRtpTransceiver):
                endpoint.stop_unstarted()

    def _finish(self) -> None:
        """
        An answer has made the signaling state stable.
        """
        self.stable = self.offered = None
        self._end_rejected()
        local = self._slots.descriptions.current_local
        if not self.credentials_to_replace & credentials([local]):
            self.credentials_to_replace = set()
        self.stop_unused()
        self._slots.end_disconnected()
        self._stable_again()

    def _end_rejected(self) -> None:
        """
        Stop the transceivers and the data channels whose sections have been rejected
        (webrtc-pc #set-the-session-description).
        """
        ended: dict[Endpoint, None] = {}
        for section in self.agreement:
            endpoint = section.endpoint
            if section.ended and section.track is not None:
                _aiortc.end_track(section.track)
            if not section.rejected or endpoint is None:
                continue
            if isinstance(endpoint, RTCSctpTransport):
                ended[endpoint] = None
                self.own.discard(endpoint)
                self._tasks.create(endpoint.stop(), "stop data channels")
            elif not endpoint.stopped:
                self._tasks.create(endpoint.stop(), "stop transceiver")
            if section.track is not None:
                _aiortc.end_track(section.track)
        self.agreement = self.agreement.settled()
        renewed = self.transports.renew_origins(self.agreement)
        if renewed or any(x.rejected for x in self.agreement):
            self._slots.show(self.agreement, ended, self.transports.origins)
            self.transports.use(self.agreement)
        if not self.agreement.negotiated:
            # What comes next is no part of what has been rejected.
            fresh = create_credentials()
            for transport in self.transports:
                transport.withdraw(fresh)
        self.states.update()

    def _present(self, now: Agreement, provisional: Agreement | None) -> Present:
        associates = self.transports.configuration.associateTransceivers
        if associates is None:
            associates = not self.negotiates_itself
        return Present(
            now=now,
            stable=self.agreed,
            transceivers=[
                x for x in self._slots.transceivers if not _aiortc.is_gone(x)
            ],
            data=self._slots.data or self.creator.spare_data,
            own=self.own,
            kept=self._offered if associates else self.added,
            associates_all=associates,
            associated={x for x in self.transports.made if x.state != "new"},
            offered=self.creator.endpoints,
            provisional=provisional,
            shares_by_kind=self.transports.configuration.bundlePolicy
            != RTCBundlePolicy.MAX_COMPAT,
            make_data=self._slots.make_data,
            make_transceiver=self._slots.make_transceiver,
            make_transport=self._slots.create_transport,
            transport_for=self._slots.transport_for,
            transport_of=lambda x: self.transports.origins.get(x, _aiortc.dtls_of(x)),
            tag=next(iter(self.bundled), None),
            tag_addresses=addresses(
                self._slots.descriptions.current_remote, self.bundled[:1]
            ),
        )

    def _tell_tracks(self, before: Agreement, agreement: Agreement) -> None:
        """
        Fire the events of tracks (webrtc-pc #process-remote-track-addition), and end
        those which have gone.
        """
        was = {x.track: x.receiving for x in before if x.track is not None}
        now = {x.track for x in agreement}
        for gone in was.keys() - now:
            _aiortc.end_track(gone)
        for section in agreement:
            track = section.track
            if section.receiving and track is not None and not was.get(track, False):
                self._slots.emit("track", track)
