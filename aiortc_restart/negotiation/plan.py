"""
What a description would lead to: from an agreement to the next, changing nothing.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

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
from . import bundle, check, credentials, rejection
from .agreement import Agreement, Data, Section, Terms
from .readable import is_ended

Transport = aiortc.RTCDtlsTransport

RECEIVING = ("recvonly", "sendrecv")


@dataclass(frozen=True)
class Present:
    """
    What a description meets.
    """

    now: Agreement
    "What the descriptions in force say."

    stable: Agreement
    "What has been answered."

    provisional: Agreement | None
    "What a provisional answer has led to, if there has been one."

    transceivers: Sequence[aiortc.RTCRtpTransceiver]
    "All of them which have a section, or may get one."

    data: aiortc.RTCSctpTransport | None
    own: Collection[Endpoint]
    "What the application has made, or has given a track or a channel."

    associated: Collection[Transport]
    "The transports whose DTLS association has been begun, with its roles."

    offered: dict[str, Endpoint]
    "By mid, whose sections are in the offer that was created last."

    shares_by_kind: bool
    "Whether the bundle policy has media of one kind share a transport."

    make_data: Callable[[Transport], aiortc.RTCSctpTransport]
    make_transceiver: Callable[[str, Transport], aiortc.RTCRtpTransceiver]
    make_transport: Callable[[], Transport]
    transport_for: Callable[[str], Transport]
    "Returns the transport of something new, as the bundle policy says."

    transport_of: Callable[[Endpoint], Transport]
    "Returns the transport of what has no section."


def local_offer(description: SessionDescription, present: Present) -> Agreement:
    """
    Plan an offer of ours (RFC 9429 section 5.9).

    :raises ValueError: if an m-section has no transceiver.
    """
    rejected = rejection.rejected_mids(description)
    by_mid = {x.mid: x for x in (*present.now, *present.stable)}
    agreed = present.stable.by_endpoint()
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
        endpoint = _offered_endpoint(media, present, known, chosen)
        if endpoint is None and check.is_data(media):
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
    terms = {
        x: replace(before.terms.get(x, Terms()), controlling=_role(before, x, True))
        for section in sections
        if (x := section.transport) is not None
    }
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
    rejected = rejection.rejected_mids(description)
    sections = []
    roles: dict[Transport, str] = {}
    for media, known in zip(description.media, present.now, strict=True):
        if media.rtp.muxId in rejected or known.endpoint is None:
            sections.append(_reject(known))
            continue
        section = replace(known, refused=False)
        if isinstance(known.endpoint, RTCRtpTransceiver):
            direction = and_direction(
                media.direction or "sendrecv", known.offered_direction or "inactive"
            )
            if known.endpoint.stopped:
                direction = "inactive"
            section = replace(section, current_direction=direction)
        assert media.dtls is not None and known.transport is not None
        roles.setdefault(known.transport, media.dtls.role)
        sections.append(section)
    terms = {
        dtls: _agreed_terms(present, present.now, dtls)
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
    rejected = rejection.rejected_mids(description)
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
            # Nothing else of it is looked at.
            section = replace(_named(media), rejected=True)
            if agreed is not None and (agreed.mid, agreed.kind) == (
                section.mid,
                section.kind,
            ):
                section = _reject(agreed)
        elif check.is_data(media):
            section = _data_section(present, media, known, drafts)
        else:
            section = _media_section(present, description, media, known, chosen)
        if section.endpoint is not None:
            chosen.append(section.endpoint)
        drafts.append(section)
    if is_offer and not before.sections and drafts and all(x.refused for x in drafts):
        kind = next((x.kind for x in drafts if x.kind in CODECS), None)
        if kind is not None:
            # There would be no connection at all, of which aiortc says so.
            raise OperationError(
                f"Failed to set remote {kind} description send parameters"
            )
    sections, sources = _transported(description, drafts, present, before)
    sections = _made(sections, present)
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
        terms=_remote_terms(description, sources, present, before),
    )


# Private


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
        if endpoint is not None and endpoint in present.stable.by_endpoint():
            # Its own section has been closed: this is another association.
            endpoint = None
        dtls = present.transport_of(endpoint) if endpoint is not None else None
        section = _fresh(media, endpoint, dtls)
    return replace(
        section,
        data=Data(
            media.sctpCapabilities,
            check.data_port(media),
            media.profile.upper() == check.LEGACY_DATA_PROFILE,
        ),
        described=True,
        refused=False,
        rejected=False,
    )


def _directed(section: Section, direction: str, is_offer: bool) -> Section:
    if is_offer:
        return replace(section, offered_direction=direction)
    return replace(section, current_direction=direction)


def _fresh(
    media: MediaDescription, endpoint: Endpoint | None, dtls: Transport | None
) -> Section:
    return replace(_named(media), endpoint=endpoint, transport=dtls)


def _free_transceiver(
    present: Present, media: MediaDescription, chosen: Collection[Endpoint]
) -> aiortc.RTCRtpTransceiver | None:
    """
    Return a transceiver without a section for one that the peer has added.
    """
    agreed = present.stable.by_endpoint()
    return next(
        (
            x
            for x in present.transceivers
            if x.kind == media.kind
            and not x.stopped
            and x not in chosen
            and x not in agreed
            and not _goes_with_offer(present, x)
        ),
        None,
    )


def _goes_with_offer(present: Present, endpoint: Endpoint) -> bool:
    """
    Whether only an offer has brought an endpoint in whose place another one comes.
    """
    return (
        endpoint in present.now.made
        and endpoint not in present.own
        and not (
            isinstance(endpoint, RTCRtpTransceiver)
            and endpoint.sender.track is not None
        )
    )


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
        if provisional is not None and provisional.endpoint is known.endpoint:
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
        endpoint = _free_transceiver(present, media, chosen)
    common = _common_codecs(media, endpoint)
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
    section = replace(
        section,
        codecs=common,
        described=True,
        ended=is_ended(media),
        extensions=find_common_header_extensions(
            HEADER_EXTENSIONS[media.kind],
            [x for x in media.rtp.headerExtensions if x.id in check.EXTENSION_IDS],
        ),
        formats=list(media.fmt),
        receiving=direction in RECEIVING,
        refused=False,
        rejected=False,
        track=track,
    )
    return _directed(section, direction, is_offer)


def _agreed_terms(present: Present, before: Agreement, dtls: Transport) -> Terms:
    """
    Return the terms of a transport, which a provisional answer may have begun to use.
    """
    terms = before.terms.get(dtls, Terms())
    if present.provisional is not None and dtls in present.associated:
        return present.provisional.terms.get(dtls, terms)
    return terms


def _common_codecs(
    media: MediaDescription, endpoint: Endpoint | None
) -> list[aiortc.RTCRtpCodecParameters]:
    if not check.is_media(media):
        return []
    common = find_common_codecs(CODECS[media.kind], media.rtp.codecs)
    # aiortc gives its own number to each codec that the peer has under a number outside
    # of 96 to 127, so that two may have the same: the first of them counts.
    by_number = {x.payloadType: x for x in reversed(common)}
    common = [x for x in common if by_number[x.payloadType] is x]
    if isinstance(endpoint, RTCRtpTransceiver):
        common = filter_preferred_codecs(common, _aiortc.preferred_codecs(endpoint))
    return common


def _named(media: MediaDescription) -> Section:
    return Section(
        kind=media.kind,
        mid=media.rtp.muxId,
        formats=list(media.fmt),
        profile=media.profile,
    )


def _offered_endpoint(
    media: MediaDescription,
    present: Present,
    known: Section | None,
    chosen: Collection[Endpoint],
) -> Endpoint | None:
    """
    Return whose a section of our own offer is.
    """
    mid = media.rtp.muxId
    candidates = [
        known.endpoint if known is not None and known.kind == media.kind else None,
        present.offered.get(mid),
    ]
    agreed = present.stable.by_endpoint()
    if check.is_data(media):
        candidates.append(present.data)
    else:
        # One that was stopped gets a section only if it has been offered before.
        candidates += [
            x for x in present.transceivers if x not in agreed and not x.stopped
        ]
    for endpoint in candidates:
        if (
            endpoint is not None
            and endpoint not in chosen
            # Its transport has been stopped as well.
            and not (
                isinstance(endpoint, RTCRtpTransceiver) and _aiortc.is_gone(endpoint)
            )
            and _aiortc.kind_of(endpoint) == media.kind
            and (endpoint not in agreed or agreed[endpoint].mid == mid)
        ):
            return endpoint
    return None


def _reject(section: Section) -> Section:
    """
    Return a section after its rejection. Its endpoint ends when that has been answered.
    """
    media = section.kind in CODECS
    return replace(
        section,
        current_direction="inactive" if media and section.endpoint else None,
        described=False,
        offered_direction="inactive" if media else None,
        refused=False,
        rejected=True,
    )


def _remote_terms(
    description: SessionDescription,
    sources: dict[Transport, MediaDescription],
    present: Present,
    before: Agreement,
) -> dict[Transport, Terms]:
    is_offer = description.type == "offer"
    terms = {}
    for dtls, media in sources.items():
        known = _agreed_terms(present, before, dtls)
        assert media.dtls is not None and media.ice is not None
        role = known.role
        if dtls in present.associated:
            check.check_same_peer(media, known.remote_dtls)
        else:
            if media.dtls.role == "client":
                role = "server"
            elif not is_offer:
                role = "client"
        terms[dtls] = Terms(
            controlling=_role(before, dtls, media.ice.iceLite)
            if is_offer
            else known.controlling,
            remote_dtls=media.dtls,
            remote_ice=media.ice,
            role=role,
        )
    return terms


def _role(before: Agreement, dtls: Transport, controlling: bool) -> bool:
    """
    Return the ICE role, which the first description decides.
    """
    known = before.terms.get(dtls, Terms()).controlling
    return controlling if known is None else known


def _transported(
    description: SessionDescription,
    sections: Sequence[Section],
    present: Present,
    before: Agreement,
) -> tuple[list[Section], dict[Transport, MediaDescription]]:
    """
    Give each section its transport, and return with them which m-section describes
    which transport.

    A bundle has the transport that one of its sections has had, or else that of its
    first section, the BUNDLE-tag (RFC 9143 section 7).
    """
    by_mid = {x.rtp.muxId: x for x in description.media}
    live = {x.mid: x for x in sections if x.described}
    bundled = [x for x in bundle.bundled_mids(description) if x in live]
    negotiated = before.negotiated()
    shared: Transport | None = None
    sources: dict[Transport, MediaDescription] = {}
    if bundled:
        members = [live[x].transport for x in bundled]
        had = [x for x in negotiated if x in members]
        shared = next((x for x in (*had, *members) if x is not None), None)
        shared = shared or present.transport_for(live[bundled[0]].kind)
        check.check_transport(by_mid[bundled[0]], description.type)
        sources[shared] = by_mid[bundled[0]]
    by_kind: dict[str, Transport] = {}
    result = []
    for section in sections:
        if section.mid not in live:
            result.append(section)
            continue
        media = by_mid[section.mid]
        if section.mid in bundled:
            result.append(replace(section, transport=shared))
            continue
        check.check_transport(media, description.type)
        dtls = section.transport
        if dtls is None:
            dtls = by_kind.get(section.kind) or present.transport_for(section.kind)
            if present.shares_by_kind:
                by_kind[section.kind] = dtls
        if dtls in sources and credentials.differ(media.ice, sources[dtls].ice):
            # The section has left a bundle, or is not to be in any.
            dtls = present.make_transport()
        sources.setdefault(dtls, media)
        result.append(replace(section, transport=dtls))
    return result, sources
