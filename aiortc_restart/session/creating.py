from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import aiortc
from aiortc import RTCRtpTransceiver, RTCSessionDescription
from aiortc.exceptions import InvalidStateError
from aiortc.sdp import SessionDescription

from .. import _aiortc
from .._aiortc import Endpoint, Slots
from ..ice import create_credentials
from ..negotiation import describe
from ..negotiation.created import Created
from ..negotiation.sections import (
    SessionOrigin,
    bundled_mids,
    credentials,
    describe_transport,
    offer_bundle,
    rejected_mids,
    set_bundled_mids,
    set_trickle,
)
from ..negotiation.signaling import ANSWERED, OFFERING
from ..negotiation.text import parse
from .transports import Transports

if TYPE_CHECKING:
    from .session import Session


class Creator:
    """
    Makes offers and answers of what is agreed, which changes nothing, and has the last
    ones until the next description is set or rolled back: the [[LastCreatedOffer]] and
    [[LastCreatedAnswer]] slots of webrtc-pc.
    """

    def __init__(
        self, session: "Session", slots: Slots, transports: Transports
    ) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        "What the last offer describes, by the mid of its m-section."
        self.spare_data: aiortc.RTCSctpTransport | None = None
        "The SCTP transport of an offer that has not been set as local description."
        self._last: dict[str, Created] = {}
        self._origin = SessionOrigin()
        # Whether what createOffer() is to compare with has been asked to restart ICE.
        self._repeats_restart = False
        self._session = session
        self._slots = slots
        self._transports = transports

    def answer(self) -> aiortc.RTCSessionDescription:
        """
        Make an answer to the peer's offer.
        """
        offer = self._slots.descriptions.pending_remote
        bundled = bundled_mids(offer)
        offered = self._session.offered or self._session.agreement
        live = {x.mid for x in offered if x.described}
        tag = offered.needed_tag([x for x in bundled if x in live])
        answer = describe.answer(self._transports.describer(), offered, tag)
        # An answer bundles nothing that the offer did not (RFC 9143 section 7.3).
        mids = {*bundled_mids(answer)}
        set_bundled_mids(answer, [x for x in bundled if x in mids])
        return self._finish(answer)

    def offer(self, restart: bool) -> aiortc.RTCSessionDescription:
        """
        Make an offer.

        :param restart: Whether to restart ICE.
        """
        restart = restart or self._repeats_restart
        data_first = self._transports.configuration.alwaysNegotiateDataChannels
        data, session = self._slots.data, self._session
        if data is None and data_first:
            data = self._spare()
        described = session.agreement.by_endpoint
        waiting: list[Endpoint] = [
            x for x in self._slots.transceivers if x not in described and not x.stopped
        ]
        if data is not None and data not in described:
            waiting.insert(0 if data_first else len(waiting), data)
        made = describe.offer(
            self._transports.describer(),
            session.agreement,
            session.agreed,
            waiting,
            session.tag or self._tag_for([*waiting, *self._only_offered()]),
        )
        self.endpoints = made.endpoints
        offer, descriptions = made.description, self._slots.descriptions
        offer_bundle(offer, descriptions.current_local, descriptions.current_remote)
        if (
            session.credentials_to_replace
            or self._transports.servers_changed()
            or (restart and descriptions.current_local is not None)
            or self._keeps_nothing(offer)
        ):
            fresh = create_credentials()
            for media in offer.media:
                describe_transport(media, fresh, [], complete=False)
        elif any(x.restarting for x in self._transports):
            self._describe_current(offer)
        return self._finish(offer, restart)

    def check(self, type: str) -> None:
        """
        Check that an offer or an answer may be created (webrtc-pc
        #dom-rtcpeerconnection-createoffer, #dom-rtcpeerconnection-createanswer).

        :raises InvalidStateError: if the signaling state forbids it.
        """
        state = self._slots.signaling_state
        if state not in (OFFERING if type == "offer" else ANSWERED):
            raise InvalidStateError(
                f'Cannot create {type} in signaling state "{state}"'
            )

    async def create(
        self, type: str, create: Callable[[], Awaitable[aiortc.RTCSessionDescription]]
    ) -> aiortc.RTCSessionDescription:
        """
        Create a description, or return the last one if nothing has changed since
        (webrtc-pc #dom-peerconnection-setlocaldescription).

        :param create: The connection's createOffer or createAnswer. Subclasses may
                       create them in their own way, and not know about restarts.
        """
        last = self._last.get(type)
        self._repeats_restart = last is not None and last.restart
        try:
            new = await create()
        finally:
            self._repeats_restart = False
        if last is None:
            return new
        local = credentials(self._slots.descriptions.local)
        if last.still_says(new, {x for pair in local for x in pair if x is not None}):
            return RTCSessionDescription(sdp=last.sdp, type=last.type)
        # What the last one was asked for has not become the next one's.
        return await create() if last.restart else new

    def forget(self) -> None:
        """
        Forget the last offer and answer: another description has been set.
        """
        self.endpoints = {}
        self._last.clear()

    def parse(self, description: aiortc.RTCSessionDescription) -> SessionDescription:
        """
        Return a description of ours before it became text, or else parse it.

        :raises ValueError: if it is not valid.
        """
        last = self._last.get(description.type)
        if last is not None and last.sdp == description.sdp:
            return last.description
        return parse(description, remote=False)

    def take_spare_data(self) -> aiortc.RTCSctpTransport | None:
        """
        Return the SCTP transport that an offer has described, if no description has
        been set that has it, for the first data channel.
        """
        spare, self.spare_data = self.spare_data, None
        return spare

    # Private

    def _describe_current(self, offer: SessionDescription) -> None:
        """
        Repeat the current credentials in an offer that replaces one with new ones.
        """
        by_mid = self._transports.by_mid()
        for media in offer.media:
            transport = by_mid.get(media.rtp.muxId)
            if transport is not None and transport.restarting:
                current = transport.local_parameters
                gathered = transport.gathered_by(current.usernameFragment)
                assert gathered is not None
                describe_transport(media, current, *gathered)

    def _finish(
        self, description: SessionDescription, restart: bool = False
    ) -> aiortc.RTCSessionDescription:
        """
        Return the text of a new description, which is the last one now.
        """
        self._origin.stamp(description)
        set_trickle(description, self._trickling(description))
        assert description.type is not None
        created = Created(str(description), description.type, description, restart)
        self._last[created.type] = created
        return RTCSessionDescription(sdp=created.sdp, type=created.type)

    def _keeps_nothing(self, offer: SessionDescription) -> bool:
        """
        Whether an offer rejects all that is agreed: then what is new in it has
        credentials of its own.
        """
        rejected = rejected_mids(offer)
        live = {x.rtp.muxId for x in offer.media} - rejected
        agreed = {x.mid for x in self._session.agreed if x.described and not x.rejected}
        return bool(live) and bool(agreed) and agreed.isdisjoint(live)

    def _only_offered(self) -> list[Endpoint]:
        """
        Return what an offer of ours has described that has not been answered: another
        offer may come in its place.
        """
        agreed = self._session.agreed.by_endpoint
        return [
            x
            for x in self._session.agreement.by_endpoint
            if x not in agreed and not (isinstance(x, RTCRtpTransceiver) and x.stopped)
        ]

    def _spare(self) -> aiortc.RTCSctpTransport:
        if self.spare_data is None:
            dtls = self._slots.transport_for("application")
            self.spare_data = self._slots.make_data(dtls)
            self._transports.made.add(dtls)
        return self.spare_data

    def _tag_for(self, waiting: Sequence[Endpoint]) -> str | None:
        """
        Return the BUNDLE-tag if something that gets an m-section has its transport:
        browsers would begin another one if the tag were rejected.
        """
        bundled, sections = self._session.bundled, self._session.agreed.by_mid
        if bundled and bundled[0] in sections:
            transport = sections[bundled[0]].transport
            if any(_aiortc.dtls_of(x) is transport for x in waiting):
                return bundled[0]
        return None

    def _trickling(self, description: SessionDescription) -> list[bool]:
        """
        Return whether to say of each m-section that candidates are taken one by one.
        What has been said of a generation stays so (RFC 8839 section 4.4.1.2.1).
        """
        trickle = self._transports.configuration.iceTrickle
        trickling = []
        by_username = {
            x.iceGatherer.getLocalParameters().usernameFragment: x
            for x in self._transports
        }
        by_mid = self._transports.by_mid()
        for media in description.media:
            said = None
            username = media.ice.usernameFragment if media.ice is not None else None
            transport = by_mid.get(media.rtp.muxId) or by_username.get(username)
            if transport is not None:
                said = transport.trickles(username)
            trickling.append(trickle if said is None else said)
        return trickling
