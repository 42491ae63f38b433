"""
M-sections which are rejected: their port is zero, and no bundle has them (RFC 9429
sections 5.2.2 and 5.3.1, RFC 9143 section 6).
"""

from collections.abc import Collection

from aiortc.codecs import CODECS
from aiortc.sdp import SessionDescription

from . import bundle, text


def reject(description: SessionDescription, mids: Collection[str]) -> None:
    """
    Reject m-sections of a description.
    """
    bundled = bundle.bundled_mids(description)
    bundle.set_bundled_mids(description, [x for x in bundled if x not in mids])
    for media in description.media:
        if media.rtp.muxId in mids:
            media.direction = "inactive" if media.kind in CODECS else None
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


def name_sections(
    description: SessionDescription, offer: SessionDescription | None
) -> None:
    """
    Give m-sections of an answer which have no mid those which they have in the offer.
    """
    if offer is not None:
        text.name_sections(description, [x.rtp.muxId for x in offer.media])
