import asyncio
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import aiortc
import aiortc.rtcpeerconnection
from aiortc.exceptions import OperationError
from aiortc.sdp import MediaDescription, SessionDescription

from .._aiortc import Slots
from .._async import Tasks
from ..ice import (
    COMPONENT,
    MAX_REMOTE_CANDIDATES,
    RTCIceCandidate,
    RTCIceTransport,
    RTCPeerConnectionIceErrorEvent,
    end_of_candidates,
    is_end_of_candidates,
)
from ..negotiation import places
from ..negotiation.places import HOLDING_TIME, HeldCandidates
from ..negotiation.sections import (
    bundled_mids,
    can_trickle,
    describe_transport,
    rejected_mids,
)
from .transports import ice_of

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger(__name__)


class Candidates:
    """
    The candidates of a connection: its own, which descriptions show and events tell,
    and the peer's, which find their generation.
    """

    def __init__(self, session: "Session", slots: Slots, tasks: Tasks) -> None:
        # Whether the peer has said of which generation the candidates have ended.
        self._ends_named = False
        self._held_candidates = HeldCandidates()
        self._held_timer: asyncio.TimerHandle | None = None
        self._session = session
        self._slots = slots
        self._tasks = tasks

    async def _add_named_candidates(
        self,
        transport: RTCIceTransport,
        media: MediaDescription,
        named: list[aiortc.RTCIceCandidate],
    ) -> None:
        """
        Add the candidates of a description whose names have to be resolved.
        """
        assert media.ice is not None
        username = media.ice.usernameFragment
        await asyncio.gather(
            *(
                self._add_held_candidate(
                    transport,
                    RTCIceCandidate(**{**vars(x), "usernameFragment": username}),
                )
                for x in named
            )
        )
        if media.ice_candidates_complete:
            await self._add_held_candidate(transport, end_of_candidates(media.ice))

    async def _add_held_candidate(
        self, transport: RTCIceTransport, candidate: aiortc.RTCIceCandidate
    ) -> None:
        try:
            await transport.addRemoteCandidate(candidate)
        except OperationError as exc:
            # A description has replaced its own.
            logger.debug("RTCPeerConnection() x held candidate: %s", exc)

    def _expire_candidates(self) -> None:
        self._held_timer = None
        loop = asyncio.get_running_loop()
        self._held_candidates.expire(loop.time())
        if len(self._held_candidates):
            self._held_timer = loop.call_later(HOLDING_TIME, self._expire_candidates)

    def check(self, candidate: aiortc.RTCIceCandidate | None) -> None:
        """
        Check that a candidate may be added (webrtc-pc
        #dom-peerconnection-addicecandidate).

        :raises OperationError: if it may not.
        """
        places.check_addressed(candidate, self._slots.descriptions.remote)

    def complete(
        self,
        description: SessionDescription,
        sources: Mapping[aiortc.RTCDtlsTransport, MediaDescription],
    ) -> None:
        """
        Resolve the names among the candidates of a remote description, and take note of
        the generations of which it has all candidates.

        :param sources: Which m-section describes which transport.
        """
        trickles = can_trickle(description)
        for dtls, media in sources.items():
            transport = ice_of(dtls)
            if media.ice is None:
                continue
            # Those which were held for it are on their way already.
            named = [
                x
                for x in places.named_candidates(media)
                if getattr(x, "usernameFragment", None) is None
            ]
            if named:
                self._tasks.create(
                    self._add_named_candidates(transport, media, named), "resolve names"
                )
            if media.ice_candidates_complete or not trickles:
                transport.complete_remote_candidates(media.ice.usernameFragment)

    def forget(self) -> None:
        """
        Hold nothing any more.
        """
        self._held_candidates.clear()
        if self._held_timer is not None:
            self._held_timer.cancel()
            self._held_timer = None

    def _hold_candidate(
        self,
        username: str,
        candidate: aiortc.RTCIceCandidate,
        descriptions: Sequence[SessionDescription],
    ) -> None:
        """
        Keep a candidate for a description which may come yet.

        :raises OperationError: if none can.
        """
        places.check_holdable(candidate, username)
        mid = places.mid_of(candidate, descriptions)
        if self._held_candidates.is_retired(username, mid):
            logger.debug(
                "RTCPeerConnection() x candidate of the retired generation %s", username
            )
            return
        loop = asyncio.get_running_loop()
        self._held_candidates.hold(username, candidate, loop.time())
        if self._held_timer is None:
            self._held_timer = loop.call_later(HOLDING_TIME, self._expire_candidates)

    def found(self, transport: RTCIceTransport, candidate: RTCIceCandidate) -> None:
        """
        Show a local candidate, or their end, in the descriptions of its generation, and
        tell of it (webrtc-pc #dfn-surface-the-candidate).
        """
        username = candidate.usernameFragment
        gathered = transport.gathered_by(username)
        if gathered is None or self._slots.closed:
            return
        place: tuple[str, int] | None = None
        descriptions = self._slots.descriptions
        for description in descriptions.local:
            pending = description is descriptions.pending_local
            by_mid = self._session.transports.by_mid(
                None if pending else self._session.agreed
            )
            rejected = rejected_mids(description)
            tag = bundled_mids(description)[:1]
            for i, media in enumerate(description.media):
                mid = media.rtp.muxId
                # One that is complete may be that of a transport bundled away since.
                if (
                    media.ice is not None
                    and media.ice.usernameFragment == username
                    and not media.ice_candidates_complete
                    and mid not in rejected
                    and by_mid.get(mid) is transport
                ):
                    describe_transport(media, media.ice, *gathered)
                    # Candidates of a bundle are those of its tag.
                    if place is None or mid in tag:
                        place = mid, i
        if place is not None:
            mid, index = place
            self._slots.emit(
                "icecandidate",
                dataclasses.replace(candidate, sdpMid=mid, sdpMLineIndex=index),
            )

    def record(self, candidate: aiortc.RTCIceCandidate | None) -> list[RTCIceTransport]:
        """
        Add a candidate, or the end of candidates, to the remote descriptions of its
        generation, and return the transports that are to have it (webrtc-pc
        #dom-peerconnection-addicecandidate).

        :raises OperationError: if the remote description has no such m-section and the
                                candidate names no generation, or one that cannot be.
        """
        descriptions = self._slots.descriptions.remote
        username = getattr(candidate, "usernameFragment", None)
        if (
            candidate is not None
            and username is not None
            and not places.belongs(candidate, username, descriptions)
        ):
            self._hold_candidate(username, candidate, descriptions)
            return []
        if candidate is not None:
            places.check_size(candidate)
        if not descriptions:
            return self._take_early_candidate(candidate)
        if candidate is None or not places.is_named(candidate):
            return self._record_ends(places.latest_places(descriptions))
        return self._record_in_section(candidate, username)

    def _record_in_section(
        self, candidate: aiortc.RTCIceCandidate, username: str | None
    ) -> list[RTCIceTransport]:
        """
        Add a candidate, or the end of candidates, which names its m-section.

        :param username: The username fragment which it names, if it does.
        """
        descriptions = self._slots.descriptions.remote
        index = places.section_of(candidate, descriptions[0])
        transport = self._session.transports.by_mid().get(
            descriptions[0].media[index].rtp.muxId
        )
        if transport is None or not self._session.transports.is_used(transport):
            return []
        place = places.place_of(candidate, index, descriptions)
        if place.decides and not transport.knows(username):
            # A provisional answer replaces a generation which is described until the
            # answer.
            logger.debug(
                "RTCPeerConnection() x candidate of the replaced generation %s",
                username,
            )
            return []
        if is_end_of_candidates(candidate):
            return self._record_ends([place])
        if candidate.component != COMPONENT:
            logger.debug(
                "RTCPeerConnection() x candidate of component %d", candidate.component
            )
            return []
        if place.decides and not transport.expects(candidate):
            return [transport]
        recorded = places.record(
            place,
            dataclasses.replace(candidate, sdpMid=place.mid, sdpMLineIndex=index),
            MAX_REMOTE_CANDIDATES,
        )
        return [transport] if recorded and place.decides else []

    def _record_ends(self, ended: list[places.Place]) -> list[RTCIceTransport]:
        """
        Say in the remote descriptions that candidates have ended, and return the
        transports that are to know.
        """
        transports = []
        by_mid = self._session.transports.by_mid()
        for place in ended:
            transport = by_mid.get(place.mid)
            restarts = place.restarts or (transport and transport.restarted)
            # Who names no generation may have meant the one before the restart.
            if restarts and not place.named:
                logger.debug("RTCPeerConnection() x end-of-candidates names no restart")
                # Whose ends have had names will name this one, too.
                if place.decides and transport and not self._ends_named:
                    transport.expect_no_candidates()
                continue
            places.record_end(place)
            self._ends_named |= place.named
            if place.decides and transport:
                transports.append(transport)
        return list(dict.fromkeys(transports))

    def release(self, before: SessionDescription | None) -> None:
        """
        Take the candidates which have been held for the remote descriptions that are in
        force now.

        :param before: The current remote description until now.
        """
        descriptions = self._slots.descriptions.remote
        if before is not None and before not in descriptions:
            gone = places.generations([before]) - places.generations(descriptions)
            self._held_candidates.retire(gone)
        if not len(self._held_candidates):
            return
        now = asyncio.get_running_loop().time()
        for candidate in self._held_candidates.release(
            lambda x, username: places.belongs(x, username, descriptions), now
        ):
            try:
                transports = self.record(candidate)
            except OperationError as exc:
                logger.debug("RTCPeerConnection() x held candidate: %s", exc)
                continue
            for transport in transports:
                self._tasks.create(
                    self._add_held_candidate(transport, candidate), "add candidate"
                )

    def server_failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        if not self._slots.closed:
            self._slots.emit("icecandidateerror", event)

    def _take_early_candidate(
        self, candidate: aiortc.RTCIceCandidate | None
    ) -> list[RTCIceTransport]:
        """
        Return the transports that are to have what comes before the remote description.

        The W3C forbids it, and the base takes it. An end of candidates would end those
        of the description, too.
        """
        aiortc.rtcpeerconnection.logger.warning(
            "RTCPeerConnection addIceCandidate called without remote description"
        )
        if candidate is None or is_end_of_candidates(candidate):
            return []
        for index, section in enumerate(self._session.agreement):
            known = candidate.sdpMid in (section.mid, None) and (
                candidate.sdpMid is not None or candidate.sdpMLineIndex == index
            )
            if known and section.transport is not None:
                return [ice_of(section.transport)]
        return []
