"""
Which pair of transports carries which m-section, in a description of the peer's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import aiortc
from aiortc.sdp import MediaDescription, SessionDescription

from . import check
from .agreement import Agreement, Section, Terms
from .present import Present, Transport
from .sections import bundled_mids, credentials_differ, rejected_mids


@dataclass(frozen=True)
class Carriers:
    """
    The m-sections of a description with their transports.
    """

    sections: list[Section]
    sources: dict[Transport, MediaDescription]
    "Which m-section describes which transport."

    replaced: dict[Transport, Transport]
    "In whose place the transports come with which a DTLS association begins anew."


def assign(
    description: SessionDescription,
    sections: Sequence[Section],
    present: Present,
    before: Agreement,
) -> Carriers:
    """
    Give each section its transport.

    A bundle has the transport that one of its sections has had, or else that of its
    first section, the BUNDLE-tag (RFC 9143 section 7). Another one comes in its place
    where the peer begins another DTLS association.

    :raises ValueError: if a transport is not described, or another peer describes one
                        without a restart.
    """
    carried, sources = _as_before(description, sections, present, before)
    renewed = {
        dtls: _replacement(dtls, media, present)
        for dtls, media in sources.items()
        if dtls in present.associated
        and _begins_anew(description, dtls, media, present, before)
    }
    transports = {mid: renewed.get(dtls, dtls) for mid, dtls in carried.items()}
    return Carriers(
        [
            x
            if transports.get(x.mid, x.transport) is x.transport
            else replace(x, transport=transports[x.mid])
            for x in sections
        ],
        {renewed.get(x, x): media for x, media in sources.items()},
        {new: old for old, new in renewed.items()},
    )


def terms(
    description: SessionDescription,
    carriers: Carriers,
    present: Present,
    before: Agreement,
) -> dict[Transport, Terms]:
    """
    Return the terms of the transports that the peer describes.
    """
    is_offer = description.type == "offer"
    result = {}
    for dtls, media in carriers.sources.items():
        assert media.dtls is not None and media.ice is not None
        known = agreed_terms(present, before, dtls)
        old = before.terms.get(carriers.replaced.get(dtls, dtls), Terms())
        if dtls in carriers.replaced and known == Terms():
            # Our data channels keep their numbers if the role stays what it was (RFC
            # 8832 section 6).
            known = Terms(role=old.role if is_offer else "auto")
            if is_other_peer(media, old.remote_dtls):
                known = replace(known, controlling=None if is_offer else True)
            else:
                known = replace(known, controlling=old.controlling)
        role = known.role
        if dtls not in present.associated:
            if media.dtls.role == "client":
                role = "server"
            elif media.dtls.role == "server" or not is_offer:
                role = "client"
        controlling = known.controlling
        if is_offer and controlling is None:
            # The first description decides.
            controlling = media.ice.iceLite
        result[dtls] = Terms(
            controlling=controlling,
            remote_dtls=media.dtls,
            remote_ice=media.ice,
            role=role,
        )
    return result


def agreed_terms(present: Present, before: Agreement, dtls: Transport) -> Terms:
    """
    Return the terms of a transport, which a provisional answer may have begun to use.
    """
    terms = before.terms.get(dtls, Terms())
    if present.provisional is not None and dtls in present.associated:
        return present.provisional.terms.get(dtls, terms)
    return terms


def is_other_peer(
    media: MediaDescription, known: aiortc.RTCDtlsParameters | None
) -> bool:
    """
    Whether an m-section describes another peer than the one with which there is a DTLS
    association: all fingerprints are others (RFC 8842 section 5.1).

    :param known: What the peer has said of DTLS before.
    """
    if known is None or media.dtls is None:
        return False
    before, now = (
        {(x.algorithm.lower(), x.value.upper()) for x in dtls.fingerprints}
        for dtls in (known, media.dtls)
    )
    return before.isdisjoint(now)


# Private


def _as_before(
    description: SessionDescription,
    sections: Sequence[Section],
    present: Present,
    before: Agreement,
) -> tuple[dict[str, Transport], dict[Transport, MediaDescription]]:
    """
    Return the transports of the live sections, by mid, as if no association began anew,
    and which m-section describes which.
    """
    by_mid = {x.rtp.muxId: x for x in description.media}
    live = {x.mid: x for x in sections if x.described}
    bundle = [live[x] for x in bundled_mids(description) if x in live]
    sources: dict[Transport, MediaDescription] = {}
    carried: dict[str, Transport] = {}
    if bundle:
        check.check_transport(by_mid[bundle[0].mid], description.type)
        members = [x.transport for x in bundle]
        had = [x for x in before.negotiated if x in members]
        shared = next((x for x in (*had, *members) if x is not None), None)
        shared = shared or present.transport_for(bundle[0].kind)
        carried = dict.fromkeys((x.mid for x in bundle), shared)
        sources[shared] = by_mid[bundle[0].mid]
    by_kind: dict[str, Transport] = {}
    for section in live.values():
        if section.mid in carried:
            continue
        media = by_mid[section.mid]
        check.check_transport(media, description.type)
        dtls = section.transport
        if dtls is None:
            dtls = by_kind.get(section.kind) or present.transport_for(section.kind)
            if present.shares_by_kind:
                by_kind[section.kind] = dtls
        if dtls in sources and credentials_differ(media.ice, sources[dtls].ice):
            # The section has left a bundle, or is not to be in any.
            dtls = present.make_transport()
        sources.setdefault(dtls, media)
        carried[section.mid] = dtls
    return carried, sources


def _begins_anew(
    description: SessionDescription,
    dtls: Transport,
    media: MediaDescription,
    present: Present,
    before: Agreement,
) -> bool:
    """
    Whether the peer begins another DTLS association in the place of one that there is.

    :raises ValueError: if that is another peer's, and ICE is not restarted.
    """
    known = agreed_terms(present, before, dtls)
    restarts = credentials_differ(media.ice, known.remote_ice)
    if is_other_peer(media, known.remote_dtls):
        if not restarts:
            raise ValueError(
                f'Media section "{media.rtp.muxId}" has another DTLS fingerprint than '
                "before, but no new ICE credentials. Another peer has to restart ICE. "
                "The call goes on with the peer that it has."
            )
        return True
    if description.type != "offer":
        return False
    tag = before.by_mid.get(present.tag) if present.tag is not None else None
    if tag is None or not tag.described or tag.transport is not dtls:
        return False
    live = {x.rtp.muxId for x in description.media}
    live -= rejected_mids(description)
    if tag.mid in live:
        return False
    # Browsers close the transport of a BUNDLE-tag that is rejected, and begin another
    # one for the rest of the bundle. Others go on with it, and with its candidates.
    addresses = {(x.ip, x.port) for x in media.ice_candidates}
    return restarts or addresses.isdisjoint(present.tag_addresses)


def _replacement(
    dtls: Transport, media: MediaDescription, present: Present
) -> Transport:
    """
    Return what comes in the place of a transport.

    :raises ValueError: if a provisional answer has brought yet another peer.
    """
    if present.provisional is not None:
        for new, old in present.provisional.replaced.items():
            if old is dtls:
                known = present.provisional.terms[new]
                if credentials_differ(media.ice, known.remote_ice) or (
                    is_other_peer(media, known.remote_dtls)
                ):
                    raise ValueError(
                        f'Media section "{media.rtp.muxId}" of the answer is of '
                        "another peer than that of the provisional answer"
                    )
                return new
    return present.make_transport()
