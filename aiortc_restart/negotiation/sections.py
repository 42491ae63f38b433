"""
What m-sections say: whether they are bundled or rejected, whether for media or data, of
which ICE generation, and whether its candidates are taken one by one.
"""

import re
import secrets
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import aiortc
from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import DISCARD_HOST, DISCARD_PORT
from aiortc.sdp import GroupDescription, MediaDescription, SessionDescription

from .needed import Described

DATA = "application"
"The kind of the m-section for data channels."

DATA_PROFILE = "UDP/DTLS/SCTP"

DATA_PROFILES = (DATA_PROFILE, "TCP/DTLS/SCTP", "DTLS/SCTP")
"The protocols of data channels (RFC 8841 section 4, and what older browsers had)."

LEGACY_DATA_PROFILE = "DTLS/SCTP"

RTP_PROFILES = ("RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF")

TRICKLE = "trickle"
"The ICE option of who takes candidates one by one (RFC 8840 section 4.1.3)."

USERNAME_FRAGMENT = re.compile(r"[A-Za-z0-9+/=_#-]{4,256}")
"The length of RFC 8839 section 5.4, and the characters which libwebrtc takes as well."


class Profiled(Protocol):
    """
    An m-section, parsed or not.
    """

    kind: str
    profile: str


class SessionOrigin:
    """
    The o= line: one session, with one version more for each description made (RFC 9429
    section 5.2.2).
    """

    def __init__(self) -> None:
        self._id = secrets.randbits(62)
        self._version = 0

    def stamp(self, description: SessionDescription) -> None:
        self._version += 1
        description.origin = f"- {self._id} {self._version} IN IP4 0.0.0.0"


# BUNDLE


def bundled_mids(description: SessionDescription | None) -> list[str]:
    """
    Return the identification-tags of the BUNDLE group, of which the first is the
    BUNDLE-tag (RFC 9143 section 7).
    """
    for group in description.group if description is not None else []:
        if group.semantic == "BUNDLE":
            # A tag that comes twice would make aiortc bundle the section with itself.
            return list(dict.fromkeys(map(str, group.items)))
    return []


def negotiated_mids(
    local: SessionDescription | None, remote: SessionDescription | None
) -> list[str]:
    """
    Return the identification-tags of the BUNDLE group that has been negotiated, of
    which the first is the BUNDLE-tag: the answer has the last word (RFC 9143 section
    7.3).
    """
    if local is None or remote is None:
        return []
    offer, answer = local, remote
    if local.type == "answer":
        offer, answer = remote, local
    offered = {*bundled_mids(offer)}
    return [x for x in bundled_mids(answer) if x in offered]


def set_bundled_mids(description: SessionDescription, mids: Iterable[str]) -> None:
    """
    Replace the BUNDLE group; without any identification-tag, there is none.
    """
    description.group = [x for x in description.group if x.semantic != "BUNDLE"]
    items: list[int | str] = [*mids]
    if items:
        description.group.append(GroupDescription(semantic="BUNDLE", items=items))


def offer_bundle(
    offer: SessionDescription,
    local: SessionDescription | None,
    remote: SessionDescription | None,
) -> None:
    """
    Offer to bundle what is bundled, and what is new (RFC 9429 section 5.2.2).

    :param local: The current local description.
    :param remote: The current remote description.
    """
    if local is None or remote is None:
        return
    bundled = negotiated_mids(local, remote)
    old = {x.rtp.muxId for x in remote.media}
    gone = rejected_mids(offer)
    bundled = [x for x in bundled if x not in gone]
    new = [x.rtp.muxId for x in offer.media if x.rtp.muxId not in old | gone]
    # A peer which did not bundle anything would not bundle what is new either.
    unbundled = not bundled and old > rejected_mids(remote)
    set_bundled_mids(offer, [] if unbundled else bundled + new)


# Rejection: the port is zero, and no bundle has the m-section (RFC 9429 sections 5.2.2
# and 5.3.1, RFC 9143 section 6)


def reject(description: SessionDescription, mids: Collection[str]) -> None:
    """
    Reject m-sections of a description.
    """
    bundled = bundled_mids(description)
    set_bundled_mids(description, [x for x in bundled if x not in mids])
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
    bundled = bundled_mids(description)
    return {
        media.rtp.muxId
        for media in description.media
        if media.port == 0 and media.rtp.muxId not in bundled
    }


# What they are for


def is_data(media: Profiled) -> bool:
    """
    Whether an m-section is for data channels, and not for another application.
    """
    return media.kind == DATA and media.profile.upper() in DATA_PROFILES


def is_media(media: Profiled) -> bool:
    """
    Whether an m-section is for sound or pictures over RTP, whichever protocols it
    names: DTLS is what its fingerprints ask for (RFC 9429 section 5.1.2).
    """
    return media.kind in CODECS and media.profile.upper().endswith(RTP_PROFILES)


def is_ended(media: MediaDescription) -> bool:
    """
    Whether nothing will be sent in an m-section any more, though it stays: its
    transceiver has been stopped, and it is the BUNDLE-tag. Our own descriptions say so
    in a line which others ignore.
    """
    return "ended" in vars(media)


def mark_ended(media: MediaDescription) -> None:
    vars(media)["ended"] = True


def described(description: SessionDescription | None) -> Described | None:
    """
    Return what the check for negotiation looks at.
    """
    if description is None:
        return None
    media = [x for x in description.media if x.kind != DATA]
    rejected = rejected_mids(description)
    return Described(
        type=str(description.type),
        directions={
            x.rtp.muxId: "inactive"
            if x.rtp.muxId in rejected
            else x.direction or "sendrecv"
            for x in media
        },
        data=any(is_data(x) and x.rtp.muxId not in rejected for x in description.media),
        rejected=rejected,
        streams={x.rtp.muxId: x.msid.split()[0] for x in media if x.msid},
    )


# ICE


def is_username(fragment: str) -> bool:
    """
    Whether a username fragment is one which browsers take.
    """
    return USERNAME_FRAGMENT.fullmatch(fragment) is not None


def credentials(
    descriptions: Iterable[SessionDescription | None],
) -> set[tuple[str | None, str | None]]:
    """
    Return all ICE credentials in some descriptions, but for those of rejected sections.
    """
    return {
        (media.ice.usernameFragment, media.ice.password)
        for description in descriptions
        if description is not None
        for media in description.media
        if media.ice is not None and media.port
    }


def credentials_differ(
    a: aiortc.RTCIceParameters | None, b: aiortc.RTCIceParameters | None
) -> bool:
    """
    Whether either of username fragment and password is another, which is what makes a
    restart (RFC 9429 section 5.10).
    """
    if a is None or b is None:
        return a is not b
    return (a.usernameFragment, a.password) != (b.usernameFragment, b.password)


def can_trickle(description: SessionDescription) -> bool:
    """
    Whether who has made a description takes candidates one by one.
    """
    return any(TRICKLE in (x.ice_options or "").split() for x in description.media)


def set_trickle(description: SessionDescription, trickles: Sequence[bool]) -> None:
    """
    Say in a description where candidates are taken one by one (RFC 9429 section 5.2.1).

    :param trickles: Whether that is so for the transport of each m-section.
    """
    mids = [x.rtp.muxId for x in description.media]
    by_mid = dict(zip(mids, trickles, strict=True))
    bundled = [x for x in bundled_mids(description) if x in by_mid]
    others = {*bundled}
    for media in description.media:
        mid = media.rtp.muxId
        if by_mid[bundled[0] if mid in others else mid]:
            media.ice_options = TRICKLE


def describe_transport(
    media: MediaDescription,
    parameters: aiortc.RTCIceParameters,
    candidates: list[aiortc.RTCIceCandidate],
    complete: bool,
) -> None:
    """
    Describe a transport as a generation has it.

    :param candidates: What it has gathered.
    :param complete: Whether it has gathered all.
    """
    media.ice = parameters
    media.ice_candidates = candidates
    media.ice_candidates_complete = complete
    if media.port == 0:
        # It is rejected.
        return
    media.host = candidates[0].ip if candidates else DISCARD_HOST
    media.port = candidates[0].port if candidates else DISCARD_PORT
