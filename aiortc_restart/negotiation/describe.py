"""
What is offered and answered: from an agreement to a description, changing nothing.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import aiortc
from aiortc import RTCDtlsParameters, RTCIceParameters, RTCRtpTransceiver
from aiortc.codecs import CODECS, HEADER_EXTENSIONS, is_rtx
from aiortc.rtcpeerconnection import (
    DISCARD_HOST,
    DISCARD_PORT,
    allocate_mid,
    and_direction,
    filter_preferred_codecs,
)
from aiortc.rtcrtpparameters import RTCRtpParameters
from aiortc.sdp import (
    GroupDescription,
    MediaDescription,
    SessionDescription,
    SsrcDescription,
)

from .. import _aiortc
from .._aiortc import Endpoint, NegotiatedMedia
from .agreement import Agreement, MediaNumbers, Section
from .sections import (
    DATA,
    DATA_PROFILE,
    LEGACY_DATA_PROFILE,
    describe_transport,
    mark_ended,
    reject,
    set_bundled_mids,
)
from .text import ParsedDescription

MEDIA_PROFILE = "UDP/TLS/RTP/SAVPF"


@dataclass(frozen=True)
class Local:
    """
    What this side says of a pair of ICE and DTLS transports.
    """

    ice: aiortc.RTCIceParameters
    fingerprints: list[aiortc.RTCDtlsFingerprint]
    candidates: Sequence[aiortc.RTCIceCandidate] = ()
    complete: bool = False
    "Whether these are all candidates."

    trickles: bool = False
    "Whether candidates are taken one by one."


@dataclass(frozen=True)
class Describer:
    """
    What descriptions are made of beside the agreement.
    """

    cname: str
    local: Callable[[aiortc.RTCDtlsTransport], Local]
    legacy_data: bool = False
    "Whether data channels are described in the way of older browsers."


@dataclass(frozen=True)
class Offer:
    """
    A description which has been made, and whose its sections are.
    """

    description: SessionDescription
    endpoints: dict[str, Endpoint]
    "By mid."


def offer(
    describer: Describer,
    agreement: Agreement,
    stable: Agreement,
    waiting: Collection[Endpoint],
    tag: str | None,
) -> Offer:
    """
    Make an offer (RFC 9429 sections 5.2.1 and 5.2.2).

    :param agreement: What is to be described again.
    :param stable: What has been answered: the slots of sections which have been
                   rejected in it are used for other ones.
    :param waiting: What has no section yet, in the order in which it gets one.
    :param tag: The BUNDLE-tag.
    """
    description = _empty("offer")
    mids, numbers = {*agreement.mids}, MediaNumbers(agreement.numbers)
    new = list(waiting)
    places: list[tuple[Section | None, Endpoint | None]] = []
    for index, known in enumerate(agreement):
        before = stable.at(index)
        free = known.rejected and before is not None and before.rejected
        fitting = _fitting(known, new) if free else None
        if fitting is not None:
            new.remove(fitting)
            places.append((None, fitting))
        else:
            ends = known.rejected or _ends(known, tag)
            places.append((known, None if ends else known.endpoint))
    places += [(None, x) for x in new]
    rejected, endpoints = set(), {}
    for section, endpoint in places:
        mid = section.mid if section is not None else allocate_mid(mids)
        if endpoint is None:
            assert section is not None
            media = _rejected(describer, agreement, section)
            rejected.add(mid)
        elif isinstance(endpoint, RTCRtpTransceiver):
            formats = _offered_formats(endpoint, section, numbers)
            media = _media(describer, endpoint, formats, "sendrecv", mid)
        else:
            media = _data(describer, endpoint, mid)
        if endpoint is not None:
            endpoints[mid] = endpoint
        description.media.append(media)
    set_bundled_mids(description, [x.rtp.muxId for x in description.media])
    reject(description, rejected)
    return Offer(description, endpoints)


def answer(
    describer: Describer, agreement: Agreement, tag: str | None
) -> SessionDescription:
    """
    Make an answer (RFC 9429 section 5.3.1).

    :param tag: The BUNDLE-tag.
    """
    description = _empty("answer")
    rejected = set()
    for section in agreement:
        endpoint = section.endpoint
        if endpoint is None or not section.described or _ends(section, tag):
            media = _rejected(describer, agreement, section)
            rejected.add(section.mid)
        else:
            if isinstance(endpoint, RTCRtpTransceiver):
                formats = section.codecs, section.extensions
                offered = section.offered_direction or "inactive"
                media = _media(describer, endpoint, formats, offered, section.mid)
            else:
                media = _data(describer, endpoint, section.mid)
            assert media.dtls is not None and section.transport is not None
            role = agreement.terms[section.transport].role
            media.dtls.role = "client" if role == "auto" else role
        description.media.append(media)
    set_bundled_mids(description, [x.rtp.muxId for x in description.media])
    reject(description, rejected)
    return description


def describe_local(
    describer: Describer, media: MediaDescription, dtls: aiortc.RTCDtlsTransport
) -> None:
    """
    Describe a pair of transports in an m-section.
    """
    local = describer.local(dtls)
    describe_transport(media, local.ice, list(local.candidates), local.complete)
    role = media.dtls.role if media.dtls is not None else "auto"
    media.dtls = RTCDtlsParameters(fingerprints=local.fingerprints, role=role)


# Private


def _data(
    describer: Describer, data: aiortc.RTCSctpTransport, mid: str
) -> MediaDescription:
    if describer.legacy_data:
        media = MediaDescription(
            kind="application",
            port=DISCARD_PORT,
            profile=LEGACY_DATA_PROFILE,
            fmt=[str(data.port)],
        )
        streams = _aiortc.streams_count(data)
        media.sctpmap[data.port] = f"webrtc-datachannel {streams}"
    else:
        media = MediaDescription(
            kind="application",
            port=DISCARD_PORT,
            profile=DATA_PROFILE,
            fmt=["webrtc-datachannel"],
        )
        media.sctp_port = data.port
    media.rtp.muxId = mid
    media.sctpCapabilities = data.getCapabilities()
    describe_local(describer, media, _aiortc.dtls_of(data))
    return media


def _empty(type: str) -> SessionDescription:
    description = ParsedDescription()
    description.type = type
    description.msid_semantic.append(GroupDescription(semantic="WMS", items=["*"]))
    return description


def _ends(section: Section, tag: str | None) -> bool:
    """
    Whether a section is to be rejected because its transceiver has been stopped. That
    which is the BUNDLE-tag stays inactive, because rejecting the tag would make
    browsers start another transport for the rest of the bundle.
    """
    endpoint = section.endpoint
    stopped = isinstance(endpoint, RTCRtpTransceiver) and endpoint.stopped
    return stopped and section.mid != tag


def _fitting(section: Section, new: Collection[Endpoint]) -> Endpoint | None:
    """
    Return what may use a rejected section again: Firefox refuses media where data
    channels have been, and data channels where media has been.
    """
    is_data = section.kind == DATA
    return next((x for x in new if (_aiortc.kind_of(x) == DATA) == is_data), None)


def _media(
    describer: Describer,
    transceiver: aiortc.RTCRtpTransceiver,
    formats: NegotiatedMedia,
    offered: str,
    mid: str,
) -> MediaDescription:
    """
    Describe a transceiver.

    :param offered: Which direction the peer offers, as this side sees it.
    """
    codecs, extensions = formats
    stream_id, track_id, ssrc, rtx_ssrc = _aiortc.sender_ids(transceiver.sender)
    media = MediaDescription(
        kind=transceiver.kind,
        port=DISCARD_PORT,
        profile=MEDIA_PROFILE,
        fmt=[x.payloadType for x in codecs],
    )
    media.direction = and_direction(transceiver.direction, offered)
    if transceiver.stopped:
        # It is the BUNDLE-tag.
        media.direction = "inactive"
        mark_ended(media)
    media.msid = f"{stream_id} {track_id}"
    media.rtp = RTCRtpParameters(codecs=codecs, headerExtensions=extensions, muxId=mid)
    media.rtcp_host = DISCARD_HOST
    media.rtcp_port = DISCARD_PORT
    media.rtcp_mux = True
    media.ssrc = [SsrcDescription(ssrc=ssrc, cname=describer.cname)]
    if any(map(is_rtx, codecs)):
        media.ssrc.append(SsrcDescription(ssrc=rtx_ssrc, cname=describer.cname))
        media.ssrc_group = [GroupDescription(semantic="FID", items=[ssrc, rtx_ssrc])]
    describe_local(describer, media, _aiortc.dtls_of(transceiver))
    return media


def _offered_formats(
    transceiver: aiortc.RTCRtpTransceiver,
    section: Section | None,
    numbers: MediaNumbers,
) -> NegotiatedMedia:
    """
    Offer what was negotiated under its numbers, and what is new under unused ones (RFC
    9429 section 5.2.2).

    :param section: What was negotiated for this section, or `None` if it is new.
    :param numbers: The numbers in use, to which this adds.
    """
    preferred = _aiortc.preferred_codecs(transceiver)
    codecs = filter_preferred_codecs(CODECS[transceiver.kind][:], preferred)
    if section is not None and section.described:
        negotiated, extensions = section.codecs, section.extensions
    else:
        negotiated = []
        extensions = numbers.number_extensions(HEADER_EXTENSIONS[transceiver.kind])
    # The order of what has been negotiated is kept, unless the application has set one.
    return numbers.number_codecs(codecs, negotiated, not preferred), extensions


def _rejected(
    describer: Describer, agreement: Agreement, section: Section
) -> MediaDescription:
    """
    Describe a section which is rejected. aiortc reads codecs and transports of it, too.
    """
    media = MediaDescription(
        kind=section.kind,
        port=0,
        profile=section.profile or MEDIA_PROFILE,
        fmt=section.formats,
    )
    media.rtp.muxId = section.mid
    # Firefox reads no section without an address.
    media.host = DISCARD_HOST
    media.ice = RTCIceParameters()
    if section.kind in CODECS:
        media.rtcp_mux = True
        media.rtp.codecs = section.codecs or CODECS[section.kind][:]
        media.fmt = section.formats or [x.payloadType for x in media.rtp.codecs]
    used = agreement.negotiated or [*agreement.transports]
    if used:
        describe_local(describer, media, used[0])
        role = agreement.terms[used[0]].role if used[0] in agreement.terms else "auto"
        assert media.dtls is not None
        media.dtls.role = "client" if role == "auto" else role
        media.host = DISCARD_HOST
        media.ice_candidates, media.ice_candidates_complete = [], False
    return media
