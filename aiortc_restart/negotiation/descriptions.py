import dataclasses
import ipaddress
import re
import secrets
from collections.abc import Sequence
from typing import overload

import aiortc
from aiortc.rtcpeerconnection import DISCARD_HOST, DISCARD_PORT
from aiortc.sdp import MediaDescription, SessionDescription

from .._aiortc import NegotiatedMedia
from .._secrets import reason, showable
from . import bundle, check, credentials, limits, rejection
from .needed import Described
from .numbers import MediaNumbers


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


def check_data_ports(description: SessionDescription) -> None:
    """
    Check that it is known which SCTP port to connect to (RFC 8841 section 5).

    :raises ValueError: if an m-section for data channels does not say it.
    """
    rejected = rejection.rejected_mids(description)
    for media in description.media:
        if media.kind != "application" or media.rtp.muxId in rejected:
            continue
        port = media.sctp_port
        if media.profile == "DTLS/SCTP":
            # As older browsers had it.
            known = media.fmt and str(media.fmt[0]).isdecimal()
            port = int(media.fmt[0]) if known else None
        if port is None or not 0 <= port < 65536:
            raise ValueError(f'Media section "{media.rtp.muxId}" has no SCTP port')


def check_fingerprints(description: SessionDescription) -> None:
    """
    Check that DTLS can authenticate the peer (RFC 8827 section 5.6.4).

    :raises ValueError: if an m-section has no fingerprint, or does not say which role
                        the peer may have (RFC 8842 section 5.2).
    """
    for media in description.media:
        if media.dtls is None:
            raise ValueError(
                f'Media section "{media.rtp.muxId}" has no DTLS setup attribute'
            )
        if not media.dtls.fingerprints:
            raise ValueError(
                f'Media section "{media.rtp.muxId}" has no DTLS fingerprint'
            )


def described(description: SessionDescription | None) -> Described | None:
    """
    Return what the check for negotiation looks at.
    """
    if description is None:
        return None
    media = [x for x in description.media if x.kind != "application"]
    rejected = rejection.rejected_mids(description)
    return Described(
        type=str(description.type),
        directions={
            x.rtp.muxId: "inactive"
            if x.rtp.muxId in rejected
            else x.direction or "sendrecv"
            for x in media
        },
        data=len(media) < len(description.media),
        rejected=rejected,
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
    media.host = candidates[0].ip if candidates else DISCARD_HOST
    media.port = candidates[0].port if candidates else DISCARD_PORT


def make_readable(
    description: aiortc.RTCSessionDescription,
) -> aiortc.RTCSessionDescription:
    """
    Return a description which says the same in a way that aiortc reads in no time, and
    which says for each m-section that its candidates have ended, if it says so for the
    session (RFC 8840 section 8), where aiortc does not look.
    """
    sdp = limits.without_repetitions(description.sdp)
    session, *sections = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)
    if re.search(r"^a=end-of-candidates\s*$", session, re.MULTILINE):
        ended = (x.rstrip() + "\r\na=end-of-candidates\r\n" for x in sections)
        sdp = session + "".join(ended)
    return dataclasses.replace(description, sdp=sdp)


def parse(sessionDescription: aiortc.RTCSessionDescription) -> SessionDescription:
    """
    Parse a description and check what can be checked without applying it.

    :raises ValueError: if it is not valid.
    """
    limits.check_description(sessionDescription.sdp)
    try:
        description = SessionDescription.parse(
            limits.without_repetitions(sessionDescription.sdp)
        )
    except Exception as exc:
        raise ValueError(
            f"Cannot parse the {sessionDescription.type}: {reason(exc)}"
        ) from showable(exc)
    description.type = sessionDescription.type
    check.check_formats(description)
    rejection.complete(description)
    bundle.share_tag_section(description)
    for media in description.media:
        credentials.validate(media)
    check_fingerprints(description)
    check_data_ports(description)
    check.check_media(description)
    return description


def make_showable(description: SessionDescription) -> None:
    """
    Replace the addresses in c= and a=rtcp which the base reads and cannot show again,
    such as names. As there is ICE, nobody uses them (RFC 9429 sections 5.8.1, 5.8.2).
    """
    description.host = _showable(description.host)
    for media in description.media:
        media.host = _showable(media.host)
        media.rtcp_host = _showable(media.rtcp_host)


def media_sections(description: SessionDescription | None) -> list[MediaDescription]:
    return description.media if description is not None else []


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
    agreed = bundle.bundled_mids(local)
    bundled = [x for x in bundle.bundled_mids(remote) if x in agreed]
    old = {x.rtp.muxId for x in remote.media}
    new = [x.rtp.muxId for x in offer.media if x.rtp.muxId not in old]
    # A peer which did not bundle anything would not bundle what is new either.
    unbundled = not bundled and old > rejection.rejected_mids(remote)
    bundle.set_bundled_mids(offer, [] if unbundled else bundled + new)


def set_numbers(
    media: MediaDescription,
    numbers: MediaNumbers,
    negotiated: NegotiatedMedia | None,
    keep_order: bool,
) -> None:
    """
    Offer what was negotiated under its numbers, and what is new under unused ones (RFC
    9429 section 5.2.2).

    :param numbers: The numbers in use, to which this adds.
    :param negotiated: What was negotiated for this section, or `None` if it is new.
    :param keep_order: Whether the negotiated codecs keep their order.
    """
    codecs, extensions = negotiated or ([], [])
    if negotiated is None:
        extensions = numbers.number_extensions(media.rtp.headerExtensions)
    media.rtp.codecs = numbers.number_codecs(media.rtp.codecs, codecs, keep_order)
    media.rtp.headerExtensions = extensions
    media.fmt = [x.payloadType for x in media.rtp.codecs]


@overload
def wrap(description: SessionDescription) -> aiortc.RTCSessionDescription: ...


@overload
def wrap(description: None) -> None: ...


def wrap(
    description: SessionDescription | None,
) -> aiortc.RTCSessionDescription | None:
    if description is None:
        return None
    assert description.type is not None
    return aiortc.RTCSessionDescription(sdp=str(description), type=description.type)


def _showable(host: str | None) -> str | None:
    try:
        if host is not None:
            ipaddress.ip_address(host)
    except ValueError:
        return DISCARD_HOST
    return host
