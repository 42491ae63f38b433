import secrets
from collections.abc import Sequence

import aiortc
from aiortc.rtcpeerconnection import DISCARD_HOST, DISCARD_PORT
from aiortc.sdp import MediaDescription, SessionDescription

from . import bundle, check, credentials, rejection
from .needed import Described


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


TRICKLE = "trickle"
"The ICE option of who takes candidates one by one (RFC 8840 section 4.1.3)."


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
    bundled = [x for x in bundle.bundled_mids(description) if x in by_mid]
    others = {*bundled}
    for media in description.media:
        mid = media.rtp.muxId
        if by_mid[bundled[0] if mid in others else mid]:
            media.ice_options = TRICKLE


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
    changed = credentials.differ(media.ice, remote)
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


def described(description: SessionDescription | None) -> Described | None:
    """
    Return what the check for negotiation looks at.
    """
    if description is None:
        return None
    media = [x for x in description.media if x.kind != "application"]
    rejected = rejection.rejected_mids(description)
    data = [x.rtp.muxId for x in description.media if check.is_data(x)]
    return Described(
        type=str(description.type),
        directions={
            x.rtp.muxId: "inactive"
            if x.rtp.muxId in rejected
            else x.direction or "sendrecv"
            for x in media
        },
        data=any(x not in rejected for x in data),
        rejected=rejected,
        streams={x.rtp.muxId: x.msid.split()[0] for x in media if x.msid},
    )


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


def set_bundle(
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
    bundled = bundle.negotiated_mids(local, remote)
    old = {x.rtp.muxId for x in remote.media}
    gone = rejection.rejected_mids(offer)
    bundled = [x for x in bundled if x not in gone]
    new = [x.rtp.muxId for x in offer.media if x.rtp.muxId not in old | gone]
    # A peer which did not bundle anything would not bundle what is new either.
    unbundled = not bundled and old > rejection.rejected_mids(remote)
    bundle.set_bundled_mids(offer, [] if unbundled else bundled + new)
