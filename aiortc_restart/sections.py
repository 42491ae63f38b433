from collections.abc import Callable

import aiortc
from aiortc.sdp import MediaDescription, SessionDescription

from . import _aiortc
from .candidates import CandidateKeeper
from .ice import RTCIceTransport, create_credentials
from .negotiation import candidates, credentials, rejection
from .negotiation.descriptions import can_trickle, check_answer


class SectionReader(CandidateKeeper):
    """
    What the m-sections of a description mean for the transceivers and transports of
    :class:`RTCPeerConnection`: which they are of, whether ICE restarts, and whether
    they are rejected.
    """

    def _apply_local_credentials(self, description: SessionDescription) -> None:
        """
        Begin or give up ICE restarts, as a local description says.
        """
        if description.type == "offer":
            self._associate(description)
        transports = self._transports_of_sections(description)
        for media, transport in zip(description.media, transports, strict=True):
            assert media.ice is not None
            if transport is None:
                continue
            shown = transport.iceGatherer.getLocalParameters()
            if description.type == "offer" and not credentials.differ(
                media.ice, transport.local_parameters
            ):
                transport.discard()
            elif credentials.differ(media.ice, shown):
                if description.type != "offer" and not transport.restarting:
                    raise ValueError(
                        "Cannot change the ICE credentials of media section "
                        f'"{media.rtp.muxId}" in an answer to an offer which does not '
                        "restart ICE"
                    )
                transport.begin(media.ice, transport.pending_remote_parameters)

    def _apply_remote_credentials(
        self, description: SessionDescription, rejected: set[str]
    ) -> None:
        """
        Begin or give up ICE restarts, as a remote description says.

        :param rejected: The mids of the m-sections which say nothing of ICE.

        :raises ValueError: if it is an answer which does not match the offer.
        """
        by_mid = self._transports_by_mid()
        sections = [
            (by_mid.get(media.rtp.muxId), media)
            for media in description.media
            if media.rtp.muxId not in rejected
        ]
        if description.type != "offer":
            for transport, media in sections:
                if transport is not None and transport.remote_parameters is not None:
                    check_answer(
                        media, transport.remote_parameters, transport.restarting
                    )

        fresh = create_credentials()
        for transport, media in sections:
            if transport is None or media.ice is None:
                continue
            current = transport.remote_parameters
            if description.type != "offer" or current is None:
                transport.describe_remote(media.ice)
            elif not credentials.differ(media.ice, current):
                transport.discard()
            elif credentials.differ(media.ice, transport.pending_remote_parameters):
                transport.begin(fresh, media.ice)

    def _associate(self, offer: SessionDescription) -> None:
        """
        Give the transceivers the m-line indices which they have in an offer.
        """
        unassociated = [
            x for x in self.getTransceivers() if x.mid is None and not x.stopped
        ]
        by_mid = {x.mid: x for x in self.getTransceivers()}
        for i, media in enumerate(offer.media):
            if media.kind == "application":
                self._sctp_mline_index = i
                if self.sctp is None:
                    self._create_sctp_transport()
                continue
            transceiver = by_mid.get(media.rtp.muxId) or next(
                (x for x in unassociated if x.kind == media.kind), None
            )
            if transceiver is None:
                raise ValueError(
                    f'No transceiver for media section "{media.rtp.muxId}"'
                )
            if transceiver in unassociated:
                unassociated.remove(transceiver)
            _aiortc.set_mline_index(transceiver, i)

    def _bundle_owners(
        self, description: SessionDescription, rejected: set[str]
    ) -> list[str]:
        """
        Return the mids whose transport other m-sections of a description share.

        :param rejected: The mids of the m-sections that it rejects, whose transport may
                         have others.
        """
        mids = {x.rtp.muxId for x in description.media} - rejected
        owners: dict[aiortc.RTCDtlsTransport, str] = {}
        for endpoint in sorted(self._endpoints(), key=_aiortc.is_bundled):
            if endpoint.mid in mids:
                owners.setdefault(_aiortc.dtls_of(endpoint), endpoint.mid)
        return list(owners.values())

    def _complete_candidates(
        self, description: SessionDescription, rejected: set[str]
    ) -> None:
        """
        Take note of the generations of which a remote description has all candidates.
        """
        trickles = can_trickle(description)
        sections: dict[RTCIceTransport, MediaDescription] = {}
        by_mid = self._transports_by_mid()
        for media in description.media:
            transport = by_mid.get(media.rtp.muxId)
            if transport is not None and media.rtp.muxId not in rejected:
                sections.setdefault(transport, media)
        for transport, media in sections.items():
            if media.ice is None:
                continue
            # Those which were held for it are on their way already.
            named = [
                x
                for x in candidates.named_candidates(media)
                if getattr(x, "usernameFragment", None) is None
            ]
            if named:
                self._tasks.create(
                    self._add_named_candidates(transport, media, named), "resolve names"
                )
            if media.ice_candidates_complete or not trickles:
                transport.complete_remote_candidates(media.ice.usernameFragment)

    def _complete_sections(
        self, description: SessionDescription
    ) -> tuple[set[str], Callable[[], None]]:
        """
        Make what the base can read of the sections that the peer rejects, and of those
        which it uses again (RFC 9429 section 5.2.2).

        :return: The mids of those which it rejects, and what has them say again what
                 they said.
        """
        offer = self._pending_local if description.type != "offer" else None
        rejection.name_sections(description, offer)
        rejected = rejection.rejected_mids(description)
        restore = rejection.complete(description)
        for transceiver in self.getTransceivers():
            index = _aiortc.mline_index(transceiver)
            if (
                transceiver.stopped
                and index is not None
                and index < len(description.media)
                and description.media[index].rtp.muxId != transceiver.mid
            ):
                _aiortc.dissociate(transceiver)
        self._dissociate_data(description)
        return rejected, restore

    def _dissociate_data(self, description: SessionDescription) -> None:
        """
        Take the m-section away from the data channels whose place another one has
        taken, as may be done if it was rejected.
        """
        index = self._sctp_mline_index
        if self.sctp is not None and index is not None:
            for media in description.media[index : index + 1]:
                if media.kind == "application" and media.rtp.muxId != self.sctp.mid:
                    self.sctp.mid = self._sctp_mline_index = None

    def _give_up_transport(
        self,
        transceiver: aiortc.RTCRtpTransceiver,
        used: dict[aiortc.RTCDtlsTransport, None],
    ) -> None:
        """
        Take the transport of a rejected section, unless others use it, out of the
        connection's states, as it will never be started: the transceiver gets that of
        another section. It is the owner of none.

        :param used: The transports of the other sections, of which there is one.
        """
        if transceiver.receiver.transport not in used:
            transceiver.receiver.setTransport(next(iter(used)))
            transceiver.sender.setTransport(next(iter(used)))
        _aiortc.share_transport(transceiver)

    def _sections_kept(
        self, offer: SessionDescription
    ) -> dict[_aiortc.Endpoint, MediaDescription]:
        """
        Return what has an m-section that an offer has, too, with that.
        """
        kept = {}
        for endpoint in self._endpoints():
            if isinstance(endpoint, aiortc.RTCRtpTransceiver):
                index = _aiortc.mline_index(endpoint)
            else:
                index = self._sctp_mline_index
            if index is not None and index < len(offer.media):
                media = offer.media[index]
                said = media.rtp.muxId, media.kind
                if said == (endpoint.mid, _aiortc.kind_of(endpoint)):
                    kept[endpoint] = media
        return kept

    def _track_kept(
        self, endpoint: _aiortc.Endpoint, media: MediaDescription
    ) -> aiortc.MediaStreamTrack | None:
        """
        Return the remote track which an m-section has, if an offer has it, too.
        """
        if isinstance(endpoint, aiortc.RTCRtpTransceiver) and media.direction in (
            "sendonly",
            "sendrecv",
        ):
            return endpoint.receiver.track
        return None

    def _stop_rejected(self) -> None:
        """
        Stop the transceivers whose m-sections have been rejected (webrtc-pc
        #dfn-stop-the-rtcrtptransceiver).
        """
        rejected = rejection.rejected_mids(self._current_local)
        rejected |= rejection.rejected_mids(self._current_remote)
        used = dict.fromkeys(_aiortc.dtls_of(x) for x in self._remote_ice)
        for transceiver in self.getTransceivers():
            if transceiver.mid not in rejected:
                continue
            if used:
                self._give_up_transport(transceiver, used)
            if not transceiver.stopped:
                self._tasks.create(transceiver.stop(), "stop transceiver")
                if transceiver.receiver.track is not None:
                    _aiortc.end_track(transceiver.receiver.track)
        if rejected:
            self._show_owners()
            self._keep_used_transports()
