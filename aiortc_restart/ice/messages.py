import hmac
import struct
from collections.abc import Callable
from typing import Any

import aioice.stun
from aioice.stun import (
    COOKIE,
    FINGERPRINT_LENGTH,
    HEADER_LENGTH,
    INTEGRITY_LENGTH,
    Class,
    Method,
)

from .._aiortc import StunMessage

INTEGRITY = 0x0008

MAX_ATTRIBUTES = 32
"How many attributes a message may have: a check of a browser's has eight."

MAX_USERNAME = 513
"The longest USERNAME, in bytes (RFC 8489 section 14.3 has less than 509)."

UNKNOWN_ATTRIBUTES = 0x000A

# What has another length is malformed.
LENGTHS = {
    "CHANNEL-NUMBER": 4,
    "FINGERPRINT": FINGERPRINT_LENGTH - 4,
    "ICE-CONTROLLED": 8,
    "ICE-CONTROLLING": 8,
    "LIFETIME": 4,
    "MESSAGE-INTEGRITY": INTEGRITY_LENGTH - 4,
    "PRIORITY": 4,
}

Reader = tuple[str, Callable[..., Any], int | None, bool]
"""
An attribute's name, what reads it, its length, and whether it is masked with the
transaction's identifier.
"""

READERS: dict[int, Reader] = {
    number: (name, unpack, LENGTHS.get(name), unpack is aioice.stun.unpack_xor_address)
    for number, name, _, unpack in aioice.stun.ATTRIBUTES
}

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")


def is_signed(data: bytes, key: bytes) -> bool:
    """
    Tell whether a message has a valid MESSAGE-INTEGRITY attribute, whatever else is in
    it.

    That costs a fraction of what parsing costs, and so does a forged message.
    """
    pos = HEADER_LENGTH
    for _ in range(MAX_ATTRIBUTES):
        if pos + INTEGRITY_LENGTH > len(data):
            return False
        number, length = _ATTRIBUTE.unpack_from(data, pos)
        if number == INTEGRITY:
            covered = pos + INTEGRITY_LENGTH - HEADER_LENGTH
            signed = aioice.stun.set_body_length(data[:pos], covered)
            value = data[pos + 4 : pos + INTEGRITY_LENGTH]
            return length == INTEGRITY_LENGTH - 4 and hmac.compare_digest(
                value, hmac.digest(key, signed, "sha1")
            )
        pos += 4 + length + -length % 4
    return False


def parse_message(data: bytes) -> StunMessage | None:
    """
    Parse a STUN message, or return `None` if it is malformed, so that it is to be
    discarded silently (RFC 8489 section 6.3).

    Nothing is raised, whatever the message has in it. An attribute that occurs twice
    counts once, the first time (section 14).
    """
    try:
        return _parse(data)
    except (ValueError, struct.error):
        return None


def _parse(data: bytes) -> StunMessage:
    kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
    end = len(data)
    # The two highest bits of all are zeros.
    if kind > 0x3FFF or cookie != COOKIE or length % 4 or end != HEADER_LENGTH + length:
        raise ValueError("The header does not fit the message")

    attributes: dict[str, Any] = {}
    signed: bytes | None = None
    unknown: list[int] = []
    pos = HEADER_LENGTH
    for _ in range(MAX_ATTRIBUTES):
        if pos == end:
            break
        number, length = _ATTRIBUTE.unpack_from(data, pos)
        begin = pos + 4
        after = begin + length + -length % 4
        if after > end or "FINGERPRINT" in attributes:
            raise ValueError("An attribute is too long, or follows the FINGERPRINT")
        reader = READERS.get(number)
        # What follows MESSAGE-INTEGRITY is not authentic (RFC 8489 section 14.5).
        if reader is not None and (signed is None or reader[0] == "FINGERPRINT"):
            name, unpack, wanted, is_masked = reader
            value = data[begin : begin + length]
            if wanted is not None and length != wanted:
                raise ValueError(f"{name} has a wrong length")
            if name not in attributes:
                attributes[name] = (
                    unpack(value, transaction_id) if is_masked else unpack(value)
                )
            if name == "MESSAGE-INTEGRITY":
                signed = data[:pos]
            elif name == "FINGERPRINT":
                _check_fingerprint(attributes[name], data[:pos])
        elif reader is None and number < 0x8000 and signed is None:
            unknown.append(number)
        pos = after
    else:
        raise ValueError("There are too many attributes")

    if len(attributes.get("USERNAME", "")) > MAX_USERNAME:
        raise ValueError("USERNAME is too long")
    return StunMessage(
        Method(kind & 0x3EEF),
        Class(kind & 0x0110),
        transaction_id,
        attributes,
        signed,
        tuple(unknown),
    )


def _check_fingerprint(value: int, data: bytes) -> None:
    if value != aioice.stun.message_fingerprint(data):
        raise ValueError("FINGERPRINT does not match")


class UnknownAttributes(aioice.stun.Message):
    """
    The answer to a request with comprehension-required attributes that are not known
    (RFC 8489 section 6.3.1).

    :param request: The request.
    :param unknown: The types of these attributes.
    """

    def __init__(self, request: aioice.stun.Message, unknown: tuple[int, ...]) -> None:
        super().__init__(
            request.message_method,
            Class.ERROR,
            request.transaction_id,
            {"ERROR-CODE": (420, "Unknown Attribute")},
        )
        self._unknown = unknown[:8]

    def __bytes__(self) -> bytes:
        data = super().__bytes__()
        value = b"".join(struct.pack("!H", x) for x in self._unknown)
        attribute = _ATTRIBUTE.pack(UNKNOWN_ATTRIBUTES, len(value)) + value
        attribute += bytes(-len(value) % 4)
        length = len(data) - HEADER_LENGTH + len(attribute)
        # It comes first, so that the signature covers it.
        return (
            aioice.stun.set_body_length(data[:HEADER_LENGTH], length)
            + attribute
            + data[HEADER_LENGTH:]
        )
