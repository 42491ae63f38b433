import re
from collections.abc import Iterable

import aiortc
from aiortc.sdp import MediaDescription, SessionDescription

# RFC 8839 section 5.4.
USERNAME_FRAGMENT = re.compile(r"[A-Za-z0-9+/]{4,256}")
PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")


def credentials(
    descriptions: Iterable[SessionDescription | None],
) -> set[tuple[str | None, str | None]]:
    """
    Return all ICE credentials in some descriptions.
    """
    return {
        (media.ice.usernameFragment, media.ice.password)
        for description in descriptions
        if description is not None
        for media in description.media
        if media.ice is not None
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
    Whether a username fragment satisfies RFC 8839 section 5.4.
    """
    return USERNAME_FRAGMENT.fullmatch(fragment) is not None


def validate(media: MediaDescription) -> None:
    """
    Check the credentials of an m-section.

    :raises ValueError: if they do not satisfy RFC 8839 section 5.4.
    """
    mid = media.rtp.muxId
    if not (media.ice and media.ice.usernameFragment and media.ice.password):
        raise ValueError("ICE username fragment or password is missing")
    if not is_username(media.ice.usernameFragment):
        raise ValueError(
            f'ICE username fragment of media section "{mid}" must be 4 to 256 '
            "characters of A-Z a-z 0-9 + /"
        )
    if not PASSWORD.fullmatch(media.ice.password):
        raise ValueError(
            f'ICE password of media section "{mid}" must be 22 to 256 characters of '
            "A-Z a-z 0-9 + /"
        )
