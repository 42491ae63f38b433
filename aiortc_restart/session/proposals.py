"""
How descriptions move the ICE transports.
"""

from collections.abc import Mapping

import aiortc
from aiortc import RTCDtlsParameters
from aiortc.sdp import MediaDescription, SessionDescription

from .._aiortc import Slots
from ..ice import create_credentials
from ..negotiation import check
from ..negotiation.agreement import Agreement
from ..negotiation.places import named_candidates
from ..negotiation.sections import (
    bundled_mids,
    credentials,
    credentials_differ,
    describe_transport,
)
from .transports import Transports, ice_of


class Proposals:
    """
    What descriptions say to the ICE transports: they propose credentials and
    candidates, and withdraw what has been rolled back.
    """

    def __init__(self, slots: Slots, transports: Transports) -> None:
        self._slots = slots
        self._transports = transports

    def check_restart(
        self,
        side: str,
        sources: dict[aiortc.RTCDtlsTransport, MediaDescription],
        replaced: Mapping[aiortc.RTCDtlsTransport, aiortc.RTCDtlsTransport],
    ) -> None:
        """
        Check that an answer restarts ICE if, and only if, the offer did (RFC 9429
        section 5.10, RFC 8839 section 4.4.2.1).

        :raises ValueError: if it does not.
        """
        for dtls, media in sources.items():
            transport = ice_of(dtls)
            if transport.remote_parameters is None:
                # What comes in the place of another one is a restart of that.
                transport = ice_of(replaced.get(dtls, dtls))
            if side == "remote":
                if transport.remote_parameters is not None:
                    check.check_answer(
                        media, transport.remote_parameters, transport.restarting
                    )
            elif transport.restarting:
                if not credentials_differ(media.ice, transport.local_parameters):
                    raise ValueError(
                        "The answer does not restart ICE, as the offer did: media "
                        f'section "{media.rtp.muxId}" has the old ICE credentials'
                    )
            elif credentials_differ(
                media.ice, transport.iceGatherer.getLocalParameters()
            ):
                raise ValueError(
                    "Cannot change the ICE credentials of media section "
                    f'"{media.rtp.muxId}" in an answer to an offer which does not '
                    "restart ICE"
                )

    def decide_roles(self, agreement: Agreement) -> None:
        """
        Have each ICE transport take the role that has been agreed.
        """
        for dtls in self._slots.dtls_transports:
            terms = agreement.terms.get(dtls)
            ice_of(dtls).decide_role(terms.controlling if terms is not None else None)

    def propose_local(
        self,
        description: SessionDescription,
        agreement: Agreement,
        sources: dict[aiortc.RTCDtlsTransport, MediaDescription],
    ) -> None:
        """
        Propose what a description of ours says, and describe in it what the transports
        have gathered.

        :param agreement: What the description leads to.
        :param sources: Which m-section describes which transport.
        """
        bundled = {*bundled_mids(description)}
        # Of a bundle the tag decides, also where it is only offered.
        tag = next((x for x in sources.values() if x.rtp.muxId in bundled), None)
        by_mid = agreement.by_mid
        for media in description.media:
            section = by_mid[media.rtp.muxId]
            if section.transport is None or section.rejected:
                continue
            if media.rtp.muxId in bundled and tag is not None:
                media.ice = tag.ice
            if media.ice is None or media.dtls is None:
                continue
            if sources.get(section.transport) is media:
                ice_of(section.transport).propose(local=media.ice)
            role = media.dtls.role
            found = self._transports.describe_generation(section.transport, media.ice)
            describe_transport(media, media.ice, list(found.candidates), found.complete)
            media.dtls = RTCDtlsParameters(found.fingerprints, role)

    def propose_remote(
        self,
        description: SessionDescription,
        agreement: Agreement,
        sources: dict[aiortc.RTCDtlsTransport, MediaDescription],
    ) -> None:
        """
        Propose what a description of the peer's says, with its candidates.

        :param agreement: What the description leads to.
        :param sources: Which m-section describes which transport.
        """
        is_offer = description.type == "offer"
        if is_offer:
            for dtls in self._slots.dtls_transports - {*sources}:
                # The offer before may have described it.
                ice_of(dtls).withdraw()
        fresh, shown = create_credentials(), None
        used = credentials(self._slots.descriptions.local)
        # Those which are new get the same credentials as the others.
        for dtls in sorted(sources, key=lambda x: not ice_of(x).agreed):
            transport, media = ice_of(dtls), sources[dtls]
            local = fresh
            old = agreement.replaced.get(dtls)
            if old is not None:
                local = (
                    self._propose_in_place(agreement, dtls, media, is_offer) or fresh
                )
            elif not transport.agreed:
                own = transport.local_parameters
                # Those of a transport which has gone are no new ones.
                is_used = (own.usernameFragment, own.password) in used
                local = shown or (fresh if is_used else own)
            transport.propose(local=local if is_offer else None, remote=media.ice)
            shown = transport.iceGatherer.getLocalParameters()
            named = named_candidates(media)
            transport.take_candidates(
                [x for x in media.ice_candidates if x not in named],
                media.ice_candidates_complete and not named,
            )

    def withdraw(self, agreement: Agreement) -> None:
        """
        Have the transports forget the descriptions which have been rolled back.
        """
        negotiated = [ice_of(x) for x in agreement.negotiated]
        shared = create_credentials()
        if negotiated:
            shared = negotiated[0].local_parameters
        for transport in self._transports:
            transport.withdraw(None if transport in negotiated else shared)
        self.decide_roles(agreement)

    # Private

    def _propose_in_place(
        self,
        agreement: Agreement,
        dtls: aiortc.RTCDtlsTransport,
        media: MediaDescription,
        is_offer: bool,
    ) -> aiortc.RTCIceParameters | None:
        """
        Prepare the transport that comes in the place of another one, and return our
        credentials, unless they are to be new.
        """
        transport = ice_of(dtls)
        previous = ice_of(agreement.replaced[dtls])
        if not is_offer:
            transport.take_restart(previous)
            transport.decide_role(agreement.terms[dtls].controlling)
        elif not credentials_differ(media.ice, previous.remote_parameters):
            # The peer has other sockets under the credentials that it had.
            return previous.local_parameters
        return None


def describing(
    description: SessionDescription, agreement: Agreement
) -> dict[aiortc.RTCDtlsTransport, MediaDescription]:
    """
    Return which m-section describes which transport: of a bundle its tag, elsewhere
    there are candidates which lead to sockets that die with the answer (Firefox), or
    none (libwebrtc).
    """
    by_mid = {x.rtp.muxId: x for x in description.media}
    sections = agreement.by_mid
    sources: dict[aiortc.RTCDtlsTransport, MediaDescription] = {}
    for mid in dict.fromkeys((*bundled_mids(description), *by_mid)):
        section = sections.get(mid)
        if section is not None and section.transport is not None:
            if not (section.rejected or section.refused):
                sources.setdefault(section.transport, by_mid[mid])
    return sources
