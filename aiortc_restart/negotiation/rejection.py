"""
M-sections which are rejected: their port is zero, and no bundle has them (RFC 9429
sections 5.2.2 and 5.3.1, RFC 9143 section 6).
"""

from collections.abc import Callable, Collection

import aiortc
from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.sdp import MediaDescription, SessionDescription

from . import bundle

# What the base asks for in any section, and what nobody uses of a rejected one.
NOBODY = aiortc.RTCIceParameters(usernameFragment="none", password="none" * 6)
NO_FINGERPRINT = aiortc.RTCDtlsFingerprint(algorithm="none", value="00")


def reject(description: SessionDescription, mids: Collection[str]) -> None:
    """
    Reject m-sections of a description.
    """
    bundled = bundle.bundled_mids(description)
    bundle.set_bundled_mids(description, [x for x in bundled if x not in mids])
    for media in description.media:
        if media.rtp.muxId in mids:
            media.direction = None if media.kind == "application" else "inactive"
            media.port = 0


def rejected_mids(description: SessionDescription | None) -> set[str]:
    """
    Return the mids of the rejected m-sections.
    """
    if description is None:
        return set()
    # A section which may only be bundled has no port either (RFC 9143 section 6).
    bundled = bundle.bundled_mids(description)
    return {
        media.rtp.muxId
        for media in description.media
        if media.port == 0 and media.rtp.muxId not in bundled
    }


def complete(description: SessionDescription) -> Callable[[], None]:
    """
    Give rejected m-sections what the base asks for in any, as they need not have it.

    :return: A function which has the description say again what it said.
    """
    rejected = rejected_mids(description)
    live = [x for x in description.media if x.rtp.muxId not in rejected]
    tags = bundle.bundled_mids(description)[:1]
    donor = next((x for x in live if x.rtp.muxId in tags), live[0] if live else None)
    said = []
    for media in description.media:
        if media.rtp.muxId in rejected:
            said.append((media, vars(media).copy(), media.rtp.codecs))
            _complete_section(media, donor)

    def restore() -> None:
        for media, attributes, codecs in said:
            vars(media).update(attributes)
            media.rtp.codecs = codecs

    return restore


def name_sections(
    description: SessionDescription, offer: SessionDescription | None
) -> None:
    """
    Give rejected m-sections of an answer the mids which they have in the offer.
    """
    if offer is not None:
        for media, offered in zip(description.media, offer.media, strict=False):
            if media.port == 0 and not media.rtp.muxId:
                media.rtp.muxId = offered.rtp.muxId


def _complete_section(media: MediaDescription, donor: MediaDescription | None) -> None:
    if donor is not None:
        for name in ("dtls", *bundle.TRANSPORT_ATTRIBUTES):
            setattr(media, name, getattr(donor, name))
    else:
        if not (media.ice and media.ice.usernameFragment and media.ice.password):
            media.ice = NOBODY
        if media.dtls is None or not media.dtls.fingerprints:
            media.dtls = aiortc.RTCDtlsParameters(
                fingerprints=[NO_FINGERPRINT], role="client"
            )
    if media.kind in CODECS:
        media.direction = "inactive"
        media.rtcp_mux = True
        if not find_common_codecs(CODECS[media.kind], media.rtp.codecs):
            media.rtp.codecs = CODECS[media.kind]
