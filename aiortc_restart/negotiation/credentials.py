import re
from collections.abc import Iterable

import aiortc
from aiortc.sdp import MediaDescription, SessionDescription

# The lengths of RFC 8839 section 5.4, and the characters which libwebrtc takes as well.
ICE_CHARS = re.compile(r"[A-Za-z0-9+/]*")
USERNAME_FRAGMENT = re.compile(r"[A-Za-z0-9+/=_#-]{4,256}")
PASSWORD = re.compile(r"[A-Za-z0-9+/=_#-]{22,256}")


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


def differ(
    a: aiortc.RTCIceParameters | None, b: aiortc.RTCIceParameters | None
) -> bool:
    """
    Whether either of username fragment and password is another, which is what makes a
    restart (RFC 9429 section 5.10).
    """
    return credential_pair(a) != credential_pair(b)


def credential_pair(
    parameters: aiortc.RTCIceParameters | None,
) -> tuple[str | None, str | None]:
    if parameters is None:
        return None, None
    return parameters.usernameFragment, parameters.password


def is_username(fragment: str) -> bool:
    """
    Whether a username fragment is one which browsers take.
    """
    return USERNAME_FRAGMENT.fullmatch(fragment) is not None


def validate(media: MediaDescription, own: bool = False) -> None:
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
