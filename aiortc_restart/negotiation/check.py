"""
What makes a description one that cannot be applied, or not be answered, although it can
be parsed: the signaling state, those before it, or what it says itself.
"""

import re
from collections import Counter
from collections.abc import Collection

import aiortc
from aiortc.codecs import CODECS
from aiortc.exceptions import InvalidStateError
from aiortc.sdp import MediaDescription, SessionDescription

from .._aiortc import Descriptions
from .agreement import Agreement
from .sections import (
    LEGACY_DATA_PROFILE,
    USERNAME_FRAGMENT,
    bundled_mids,
    credentials_differ,
    is_data,
    is_media,
    rejected_mids,
)
from .signaling import TRANSITIONS
from .text import name_sections

DEFAULT_DATA_PORT = 5000

# RFC 8839 section 5.4, and with the other characters which libwebrtc takes as well.
ICE_CHARS = re.compile(r"[A-Za-z0-9+/]*")
PASSWORD = re.compile(r"[A-Za-z0-9+/=_#-]{22,256}")

EXTENSION_IDS = range(1, 256)
"""
The ids which header extensions of a packet may have (RFC 8285 section 4.3). Those of
4096 and more are for the answerer to number (section 7).
"""

MAX_MID = 255
"How many bytes a mid may have: packets carry it in a header extension (RFC 9143)."


def next_state(
    state: str, side: str, description: aiortc.RTCSessionDescription | None
) -> str:
    """
    Return the signaling state that a description leads to.

    :param state: The present one.
    :param description: `None` for the one that the present state asks for.

    :raises InvalidStateError: if the present one forbids it.
    """
    if description is None:
        return state
    if (side, description.type, state) == ("remote", "offer", "have-local-offer"):
        # It rolls ours back first.
        state = "stable"
    following = TRANSITIONS.get((state, side, description.type))
    if following is None:
        raise InvalidStateError(
            f'Cannot handle {description.type} in signaling state "{state}"'
        )
    return following


def check(
    description: SessionDescription,
    side: str,
    descriptions: Descriptions,
    agreed: Agreement,
) -> None:
    """
    Check a description by itself and beside those before, and name its m-sections.

    :param descriptions: Those which are in force.
    :param agreed: What has been answered.

    :raises ValueError: if it cannot be applied.
    """
    offer = None
    if description.type != "offer":
        offer = descriptions.pending_remote
        if side == "remote":
            offer = descriptions.pending_local
    if offer is not None:
        name_sections(description, [x.rtp.muxId for x in offer.media])
    check_description(description)
    if offer is not None:
        check_sections_of_answer(description, offer)
    else:
        name_sections(description, [x.mid for x in agreed])
        free = {x.mid for x in agreed if x.rejected}
        check_same_sections(description, descriptions.current_remote, free)
    check_live_sections(description, own=side == "local")


def check_answer(
    media: MediaDescription, remote: aiortc.RTCIceParameters, restarting: bool
) -> None:
    """
    Check that an answer restarts ICE if, and only if, the offer did (RFC 9429
    section 5.10).

    :param media: A section of the answer.
    :param remote: The peer's credentials for that section so far.
    :param restarting: Whether the offer restarts ICE for it.

    :raises ValueError: if it does not.
    """
    changed = credentials_differ(media.ice, remote)
    if restarting and not changed:
        raise ValueError(
            "The answer does not restart ICE: its ICE username fragment and password "
            f'for media section "{media.rtp.muxId}" are the old ones. The call goes on '
            "without a restart; a new offer may be made."
        )
    if changed and not restarting:
        raise ValueError(
            "The answer restarts ICE, though the offer did not: its ICE username "
            f'fragment or password for media section "{media.rtp.muxId}" is another '
            "than before. The call goes on without a restart."
        )


def check_description(description: SessionDescription) -> None:
    """
    Check that the m-sections can be told apart.

    :raises ValueError: if they cannot.
    """
    mids = Counter(x.rtp.muxId for x in description.media)
    if None in mids:
        raise ValueError("A media section has a mid attribute without a value")
    for mid, number in mids.items():
        # RFC 5888 section 4
        if number > 1:
            raise ValueError(f'{number} media sections have the mid "{mid}"')
        if len(mid.encode()) > MAX_MID:
            raise ValueError(f"A mid has more than {MAX_MID} bytes")
    for media in description.media:
        # aiortc takes what is behind a blank for the id of the track.
        words = media.msid
        if words is not None and " " in words and len(words.split()) < 2:
            raise ValueError(
                f'Media section "{media.rtp.muxId}" has a malformed msid attribute'
            )


def check_live_sections(description: SessionDescription, own: bool) -> None:
    """
    Check the m-sections which are not rejected, those first which describe transports.

    :param own: Whether the description is this side's.

    :raises ValueError: if one is not valid.
    """
    rejected = rejected_mids(description)
    live = [x for x in description.media if x.rtp.muxId not in rejected]
    bundled = bundled_mids(description)
    # What is to be rejected need not be valid, and is not the BUNDLE-tag then.
    known = {x.rtp.muxId for x in live if own or is_data(x) or is_media(x)}
    others = {x for x in bundled if x in known}
    others -= {*[x for x in bundled if x in known][:1]}
    for media in live:
        if media.rtp.muxId in known - others:
            check_transport(media, description.type, own)
    for media in live:
        if media.rtp.muxId in known:
            _check_live_section(media)
        if own and media.dtls is None:
            raise ValueError(
                f'Media section "{media.rtp.muxId}" has no DTLS setup attribute'
            )


def _check_live_section(media: MediaDescription) -> None:
    """
    Check that an m-section has formats, and that its RTCP is
    multiplexed (RFC 9429 section 5.8.2).

    :raises ValueError: if not.
    """
    mid = media.rtp.muxId
    # RFC 8866 section 5.14
    if not media.fmt:
        raise ValueError(f'Media section "{mid}" has no format')
    if media.kind in CODECS and not media.rtcp_mux:
        raise ValueError("RTCP mux is not enabled")


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
    if current is None:
        return
    if len(description.media) < len(current.media):
        raise ValueError("Media sections in offer do not match those before")
    for media, known in zip(description.media, current.media, strict=False):
        mid = known.rtp.muxId
        if mid in free and media.rtp.muxId != mid:
            continue
        if media.kind != known.kind and mid not in free:
            raise ValueError("Media sections in offer do not match those before")
        if media.rtp.muxId != mid:
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


def check_sections_of_answer(
    description: SessionDescription, offer: SessionDescription
) -> None:
    """
    Check that an answer has the m-sections of the offer (RFC 3264 section 6).

    :raises ValueError: if it has not.
    """
    if [(x.kind, x.rtp.muxId) for x in description.media] != [
        (x.kind, x.rtp.muxId) for x in offer.media
    ]:
        raise ValueError("Media sections in answer do not match offer")


def check_transport(
    media: MediaDescription, type: str | None, own: bool = False
) -> None:
    """
    Check the m-section which describes a transport: its ICE credentials (RFC 8839
    section 5.4), that DTLS can authenticate the peer (RFC 8827 section 5.6.4), and that
    an answer decides the role (RFC 8842 section 5.3).

    :raises ValueError: if something is missing, or not valid.
    """
    mid = media.rtp.muxId
    check_credentials(media, own)
    if media.dtls is None:
        raise ValueError(f'Media section "{mid}" has no DTLS setup attribute')
    if not media.dtls.fingerprints:
        raise ValueError(f'Media section "{mid}" has no DTLS fingerprint')
    if type != "offer" and media.dtls.role not in ("client", "server"):
        raise ValueError(
            "DTLS setup attribute must be 'active' or 'passive' for an answer"
        )


def data_port(media: MediaDescription) -> int:
    """
    Return the SCTP port to connect to (RFC 8841 section 5).

    :raises ValueError: if the m-section does not say it.
    """
    port = media.sctp_port
    if media.profile.upper() == LEGACY_DATA_PROFILE and media.fmt:
        # As older browsers had it.
        if str(media.fmt[0]).isdecimal():
            port = int(media.fmt[0])
        elif port is None:
            port = DEFAULT_DATA_PORT
    if port is None or not 0 <= port < 65536:
        raise ValueError(f'Media section "{media.rtp.muxId}" has no SCTP port')
    return port


def check_credentials(media: MediaDescription, own: bool = False) -> None:
    """
    Check the credentials of an m-section.

    :param own: Whether they are this side's: those of others may have the characters
                that browsers take, which RFC 8839 section 5.4 does not have.

    :raises ValueError: if they are missing, or not valid.
    """
    if not (media.ice and media.ice.usernameFragment and media.ice.password):
        raise ValueError("ICE username fragment or password is missing")
    characters = "A-Z a-z 0-9 + /" if own else "A-Z a-z 0-9 + / = - _ #"
    username, password = media.ice.usernameFragment, media.ice.password
    for name, value, pattern, shortest in (
        ("username fragment", username, USERNAME_FRAGMENT, 4),
        ("password", password, PASSWORD, 22),
    ):
        if not pattern.fullmatch(value) or (own and not ICE_CHARS.fullmatch(value)):
            raise ValueError(
                f'ICE {name} of media section "{media.rtp.muxId}" must be {shortest} '
                f"to 256 characters of {characters}"
            )
