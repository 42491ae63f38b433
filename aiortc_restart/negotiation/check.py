"""
What makes a description of the peer's one that cannot be applied, or not be answered,
although aiortc can parse it.
"""

from collections import Counter
from collections.abc import Callable, Collection

from aiortc.codecs import CODECS
from aiortc.sdp import MediaDescription, SessionDescription

DATA = "application"
"The kind of the m-section for data channels."

EXTENSION_IDS = range(1, 256)
"The ids which header extensions of a packet may have (RFC 8285 section 4.3)."

PAYLOAD_TYPES = frozenset(range(128))
"The payload types which packets may have (RFC 3550 section 5.1)."

MAX_MID = 255
"How many bytes a mid may have: packets carry it in a header extension (RFC 9143)."


def check_formats(description: SessionDescription) -> None:
    """
    Check that aiortc can compare the formats of the m-sections, and show them again.

    :raises ValueError: if it cannot.
    """
    for media in description.media:
        mid = media.rtp.muxId
        # RFC 8866 section 5.14
        if not media.fmt:
            raise ValueError(f'Media section "{mid}" has no format')
        for codec in media.rtp.codecs:
            if codec.parameters.get("packetization-mode", "0") is None:
                raise ValueError(
                    f'Media section "{mid}" has a codec whose packetization-mode has '
                    "no value"
                )


def check_media(description: SessionDescription) -> None:
    """
    Check that aiortc can tell the m-sections apart, and what they say.

    :raises ValueError: if it cannot.
    """
    mids = Counter(x.rtp.muxId for x in description.media)
    if None in mids:
        raise ValueError("A media section has a mid attribute without a value")
    for mid, number in mids.items():
        # RFC 5888 section 4
        if number > 1:
            raise ValueError(f'{number} media sections have the mid "{mid}"')
    if sum(x.kind == DATA for x in description.media) > 1:
        raise ValueError("There is more than one media section for data channels")
    for media in description.media:
        _check_section(media)


def check_same_sections(
    description: SessionDescription,
    current: SessionDescription | None,
    free: Collection[str],
) -> None:
    """
    Check that an offer has all m-sections of the description before (RFC 3264 section
    8), with the mids that they have, which no other ones get (RFC 9429 section 5.2.2).

    :param free: The mids of the m-sections which have been rejected, so that others may
                 take their place.

    :raises ValueError: if it has not.
    """
    if description.type != "offer" or current is None:
        return
    before = [x.kind for x in current.media]
    if [x.kind for x in description.media[: len(before)]] != before:
        raise ValueError("Media sections in offer do not match those before")
    for media, known in zip(description.media, current.media, strict=False):
        mid = known.rtp.muxId
        if media.rtp.muxId != mid and mid not in free:
            raise ValueError(
                f'Media section "{mid}" of the description before has become '
                f'"{media.rtp.muxId}" in the offer'
            )
    places = {x.rtp.muxId: index for index, x in enumerate(current.media)}
    for index, media in enumerate(description.media):
        if places.get(media.rtp.muxId, index) != index:
            raise ValueError(
                f'Media section "{media.rtp.muxId}" of the description before has '
                "another place in the offer"
            )


def complete(description: SessionDescription) -> None:
    """
    Say of m-sections which do not that they send and receive (RFC 3264 section 5.1),
    and drop the codecs whose payload type another one has already, or no packet has:
    aiortc would offer them again, each with the feedback of all.
    """
    for media in description.media:
        codecs = {x.payloadType: x for x in reversed(media.rtp.codecs)}
        if len(codecs) < len(media.rtp.codecs) or not PAYLOAD_TYPES.issuperset(codecs):
            media.rtp.codecs = [
                x
                for x in media.rtp.codecs
                if x.payloadType in PAYLOAD_TYPES and codecs[x.payloadType] is x
            ]
        if media.kind != DATA and media.direction is None:
            media.direction = "sendrecv"


def put_extensions_aside(description: SessionDescription) -> Callable[[], None]:
    """
    Take out the header extensions whose ids no packet can have. RFC 8285 section 7 has
    such ones in offers, for those which are left to the answerer to number.

    :return: A function which has the description say again what it said.
    """
    said = [(x.rtp, x.rtp.headerExtensions) for x in description.media]
    for rtp, extensions in said:
        rtp.headerExtensions = [x for x in extensions if x.id in EXTENSION_IDS]

    def restore() -> None:
        for rtp, extensions in said:
            rtp.headerExtensions = extensions

    return restore


def _check_section(media: MediaDescription) -> None:
    mid = media.rtp.muxId
    if len(mid.encode()) > MAX_MID:
        raise ValueError(f"A mid has more than {MAX_MID} bytes")
    if media.kind != DATA and media.kind not in CODECS:
        raise ValueError(f'Media section "{mid}" has the unknown kind "{media.kind}"')
    # aiortc takes what is behind a blank for the id of the track.
    if media.msid is not None and " " in media.msid and len(media.msid.split()) < 2:
        raise ValueError(f'Media section "{mid}" has a malformed msid attribute')
