"""
What a description would lead to: from an agreement to the next, changing nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import aiortc
from aiortc import RTCRtpTransceiver
from aiortc.codecs import CODECS, HEADER_EXTENSIONS
from aiortc.exceptions import OperationError
from aiortc.rtcpeerconnection import (
    and_direction,
    filter_preferred_codecs,
    find_common_codecs,
    find_common_header_extensions,
    reverse_direction,
)
from aiortc.rtcrtpreceiver import RemoteStreamTrack
from aiortc.sdp import MediaDescription, SessionDescription

from .. import _aiortc
from .._aiortc import Endpoint
from . import carriers, check
from .agreement import Agreement, Data, Section, Terms
from .present import Present, Transport
from .sections import (
    LEGACY_DATA_PROFILE,
    is_data,
    is_ended,
    is_media,
    rejected_mids,
)

RECEIVING = ("recvonly", "sendrecv")


def local_offer(description: SessionDescription, present: Present) -> Agreement:
    """
    Plan an offer of ours (RFC 9429 section 5.9).

    :raises ValueError: if an m-section has no transceiver.
    """
    rejected = rejected_mids(description)
    by_mid = {x.mid: x for x in (*present.now, *present.stable)}
    agreed = present.stable.by_endpoint
    chosen: set[Endpoint] = set()
    made: set[Endpoint] = set()
    sections = []
    for media in description.media:
        mid = media.rtp.muxId
        known = by_mid.get(mid)
        if mid in rejected:
            known = known or Section(media.kind, mid)
            sections.append(replace(known, described=False, rejected=True))
            continue
        endpoint = present.offered_endpoint(media, known, chosen)
        if endpoint is None and is_data(media):
            endpoint = present.make_data(present.transport_for(media.kind))
            made.add(endpoint)
        if endpoint is None:
            raise ValueError(f'No transceiver for media section "{mid}"')
        chosen.add(endpoint)
        section = agreed.get(endpoint)
        if section is None or section.mid != mid:
            section = _fresh(media, endpoint, present.transport_of(endpoint))
        sections.append(section)
    before = present.stable
    terms = {}
    for section in sections:
        if section.transport is not None:
            known_terms = before.terms.get(section.transport, Terms())
            if known_terms.controlling is None:
                # The first description decides (RFC 8445 section 6.1.1).
                known_terms = replace(known_terms, controlling=True)
            terms[section.transport] = known_terms
    return Agreement(
        sections=tuple(sections),
        made=frozenset(made | {x for x in present.now.made if x in chosen}),
        mids=present.now.mids | {x.mid for x in sections},
        numbers=before.numbers.learned(description, rejected),
        terms=terms,
    )


def local_answer(description: SessionDescription, present: Present) -> Agreement:
    """
    Plan an answer of ours (RFC 9429 section 5.9).
    """
    rejected = rejected_mids(description)
    sections = []
    roles: dict[Transport, str] = {}
    for media, known in zip(description.media, present.now, strict=True):
        if media.rtp.muxId in rejected or known.endpoint is None:
            sections.append(_rejected(media, known))
            continue
        direction = known.current_direction
        if isinstance(known.endpoint, RTCRtpTransceiver):
            direction = and_direction(
                media.direction or "sendrecv", known.offered_direction or "inactive"
            )
            if known.endpoint.stopped:
                direction = "inactive"
        assert media.dtls is not None and known.transport is not None
        roles.setdefault(known.transport, media.dtls.role)
        sections.append(replace(known, current_direction=direction, refused=False))
    terms = {
        dtls: carriers.agreed_terms(present, present.now, dtls)
        if dtls in present.associated
        else replace(known, role=roles.get(dtls, known.role))
        for dtls, known in present.now.terms.items()
    }
    return replace(
        present.now,
        sections=tuple(sections),
        numbers=present.now.numbers.learned(description, rejected),
        terms=terms,
    )


def remote(description: SessionDescription, present: Present) -> Agreement:
    """
    Plan a description of the peer's (RFC 9429 section 5.10).

    :raises OperationError: if an answer has no codec in common with the offer.
    :raises ValueError: if a transport is not described.
    """
    is_offer = description.type == "offer"
    before = present.stable if is_offer else present.now
    rejected = rejected_mids(description)
    all_known = [
        _known(present, before, index, media)
        for index, media in enumerate(description.media)
    ]
    # What has a section is for no other one.
    chosen = [x.endpoint for x in all_known if x is not None and x.endpoint is not None]
    drafts: list[Section] = []
    for index, media in enumerate(description.media):
        known = all_known[index]
        agreed = before.at(index)
        if media.rtp.muxId in rejected or (
            not is_offer and agreed is not None and agreed.rejected
        ):
            section = _rejected(media, agreed)
        elif is_data(media):
            section = _data_section(present, media, known, drafts)
        else:
            section = _media_section(present, description, media, known, chosen)
        if section.endpoint is not None:
            chosen.append(section.endpoint)
        drafts.append(section)
    if is_offer and not before.sections:
        _check_usable(drafts)
    carried = carriers.assign(description, drafts, present, before)
    sections = _made(carried.sections, present)
    endpoints = {x.endpoint for x in sections if x.endpoint is not None}
    standing = {*present.transceivers, present.data}
    if is_offer:
        standing -= present.now.made
    made = endpoints - standing
    return Agreement(
        sections=tuple(sections),
        made=frozenset(made if is_offer else present.now.made | made),
        mids=before.mids | {x.mid for x in sections},
        numbers=before.numbers.learned(
            description, rejected | {x.mid for x in sections if x.refused}
        ),
        replaced=carried.replaced,
        terms=carriers.terms(description, carried, present, before),
    )


# Private


def _check_usable(drafts: Sequence[Section]) -> None:
    """
    Check that not all of a first offer is refused: there would be no connection at all,
    of which aiortc says so.

    :raises OperationError: if all is, and there is media in it.
    """
    kind = next((x.kind for x in drafts if x.kind in CODECS), None)
    if kind is not None and all(x.refused for x in drafts):
        raise OperationError(f"Failed to set remote {kind} description send parameters")


def _data_section(
    present: Present,
    media: MediaDescription,
    known: Section | None,
    drafts: Sequence[Section],
) -> Section:
    if any(x.data is not None and x.described for x in drafts):
        # There is one association for data channels at most (RFC 8841 section 9).
        return replace(_named(media), refused=True)
    section = known
    if section is None or section.endpoint is None:
        endpoint: Endpoint | None = present.data
        if endpoint is not None and endpoint in present.stable.by_endpoint:
            # Its own section has been closed: this is another association.
            endpoint = None
        dtls = present.transport_of(endpoint) if endpoint is not None else None
        section = _fresh(media, endpoint, dtls)
    return replace(
        section,
        data=Data(
            media.sctpCapabilities,
            check.data_port(media),
            media.profile.upper() == LEGACY_DATA_PROFILE,
        ),
        described=True,
        refused=False,
        rejected=False,
    )


def _fresh(
    media: MediaDescription, endpoint: Endpoint | None, dtls: Transport | None
) -> Section:
    return replace(_named(media), endpoint=endpoint, transport=dtls)


def _known(
    present: Present, before: Agreement, index: int, media: MediaDescription
) -> Section | None:
    """
    Return what is known of an m-section of the peer's. Of another offer of the peer's,
    in whose place this one comes, what both describe stays.
    """
    said = media.rtp.muxId, media.kind
    known = before.at(index)
    if (
        known is not None
        and (known.mid, known.kind) == said
        # What was rejected is used again for something new.
        and not known.rejected
    ):
        provisional = present.provisional.at(index) if present.provisional else None
        if provisional is None or provisional is known:
            return known
        if provisional.endpoint is known.endpoint:
            return replace(
                known, receiving=provisional.receiving, track=provisional.track
            )
        return known
    replaced = present.now.at(index)
    if replaced is None or (replaced.mid, replaced.kind) != said:
        return None
    if replaced.rejected or replaced.endpoint is None:
        return None
    section = _fresh(media, replaced.endpoint, present.transport_of(replaced.endpoint))
    if reverse_direction(media.direction or "sendrecv") in RECEIVING:
        section = replace(section, track=replaced.track)
    return section


def _made(sections: Sequence[Section], present: Present) -> list[Section]:
    """
    Make what the sections lack which have a transport.
    """
    made = []
    for section in sections:
        if section.endpoint is None and section.transport is not None:
            endpoint: Endpoint
            if section.kind == "application":
                endpoint = present.make_data(section.transport)
            else:
                endpoint = present.make_transceiver(section.kind, section.transport)
            section = replace(section, endpoint=endpoint)
        made.append(section)
    return made


def _media_section(
    present: Present,
    description: SessionDescription,
    media: MediaDescription,
    known: Section | None,
    chosen: Collection[Endpoint],
) -> Section:
    is_offer = description.type == "offer"
    endpoint = known.endpoint if known is not None else None
    if endpoint is None:
        endpoint = present.free_transceiver(media, chosen)
    common, codecs_of = _common_codecs(media, endpoint, known)
    if not common:
        if not is_offer:
            raise OperationError(
                f"Failed to set remote {media.kind} description send parameters"
            )
        # The rest of the offer can be answered (RFC 9429 section 5.3.1).
        return replace(known or _named(media), described=False, refused=True)
    section = known
    if section is None or section.endpoint is None:
        dtls = present.transport_of(endpoint) if endpoint is not None else None
        section = _fresh(media, endpoint, dtls)
    direction = reverse_direction(media.direction or "sendrecv")
    track = section.track
    if direction in RECEIVING and track is None:
        track = RemoteStreamTrack(
            kind=media.kind, id=description.webrtc_track_id(media)
        )
    return replace(
        section,
        codecs=common,
        codecs_of=codecs_of,
        current_direction=section.current_direction if is_offer else direction,
        described=True,
        ended=is_ended(media),
        extensions=find_common_header_extensions(
            HEADER_EXTENSIONS[media.kind],
            [x for x in media.rtp.headerExtensions if x.id in check.EXTENSION_IDS],
        ),
        formats=list(media.fmt),
        offered_direction=direction if is_offer else section.offered_direction,
        receiving=direction in RECEIVING,
        refused=False,
        rejected=False,
        track=track,
    )


def _common_codecs(
    media: MediaDescription, endpoint: Endpoint | None, known: Section | None
) -> tuple[list[aiortc.RTCRtpCodecParameters], object]:
    """
    Return the codecs which both ends have, and what these follow from.
    """
    preferred: list[aiortc.RTCRtpCodecCapability] = []
    if isinstance(endpoint, RTCRtpTransceiver):
        preferred = _aiortc.preferred_codecs(endpoint)
    available = CODECS.get(media.kind, [])
    codecs_of = media.profile, media.rtp.codecs, [*preferred], [*available]
    if known is not None and known.codecs and known.codecs_of == codecs_of:
        return known.codecs, codecs_of
    if not is_media(media):
        return [], codecs_of
    common = find_common_codecs(available, media.rtp.codecs)
    # aiortc gives its own number to each codec that the peer has under a number outside
    # of 96 to 127, so that two may have the same: the first of them counts.
    by_number = {x.payloadType: x for x in reversed(common)}
    common = [x for x in common if by_number[x.payloadType] is x]
    return filter_preferred_codecs(common, preferred), codecs_of


def _named(media: MediaDescription) -> Section:
    return Section(
        kind=media.kind,
        mid=media.rtp.muxId,
        formats=list(media.fmt),
        profile=media.profile,
    )


def _rejected(media: MediaDescription, agreed: Section | None) -> Section:
    """
    Return an m-section after its rejection: nothing else of it is looked at. Its
    endpoint ends when that has been answered.
    """
    if agreed is None or (agreed.mid, agreed.kind) != (media.rtp.muxId, media.kind):
        return replace(_named(media), rejected=True)
    has_media = agreed.kind in CODECS
    return replace(
        agreed,
        current_direction="inactive" if has_media and agreed.endpoint else None,
        described=False,
        offered_direction="inactive" if has_media else None,
        refused=False,
        rejected=True,
    )
