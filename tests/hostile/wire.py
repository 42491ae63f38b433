"""
STUN as RFC 8489 has it, written without the package's code or aioice's, so that tests
say what neither of them would, and check what either of them reads.
"""

import binascii
import hashlib
import hmac
import ipaddress
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COOKIE = 0x2112A442

REQUEST = 0x0001
INDICATION = 0x0011
SUCCESS = 0x0101
ERROR = 0x0111

MAPPED_ADDRESS = 0x0001
USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
CHANNEL_NUMBER = 0x000C
LIFETIME = 0x000D
XOR_PEER_ADDRESS = 0x0012
DATA = 0x0013
XOR_RELAYED_ADDRESS = 0x0016
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
SOFTWARE = 0x8022
FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029
ICE_CONTROLLING = 0x802A

Attribute = tuple[int, bytes]
"Its type and its value."


@dataclass(frozen=True)
class Reading:
    """
    What a message says.
    """

    kind: int
    "Class and method, as they stand in the message."

    transaction: bytes
    attributes: tuple[Attribute, ...]
    signed: bytes | None
    "What the first MESSAGE-INTEGRITY covers, with the length that it assumes."

    @property
    def error(self) -> int | None:
        """
        The code of an error.
        """
        value = self.value(ERROR_CODE)
        return None if value is None else value[2] * 100 + value[3]

    @property
    def is_request(self) -> bool:
        return self.kind == REQUEST

    def is_signed(self, key: bytes) -> bool:
        """
        Tell whether the first MESSAGE-INTEGRITY was made with a key.
        """
        value = self.value(MESSAGE_INTEGRITY)
        return self.signed is not None and value == _sign(self.signed, key)

    def value(self, kind: int) -> bytes | None:
        """
        Return the value of the first attribute of a type.
        """
        return next((value for x, value in self.attributes if x == kind), None)


def attribute(kind: int, value: bytes, length: int | None = None) -> bytes:
    """
    Encode an attribute.

    :param length: The length that it claims to have, if another.
    """
    claimed = len(value) if length is None else length
    return struct.pack("!HH", kind, claimed) + value + bytes(-len(value) % 4)


def encode(
    kind: int,
    attributes: Iterable[Attribute | bytes] = (),
    *,
    transaction: bytes | None = None,
    key: bytes | None = None,
    after: Iterable[Attribute | bytes] = (),
    fingerprint: bool = True,
) -> bytes:
    """
    Encode a message.

    :param kind: Its class and method.
    :param attributes: Those which are signed, some of them perhaps encoded already.
    :param transaction: The identifier of the transaction, by default another one.
    :param key: What the message is signed with, if at all.
    :param after: Attributes which follow the signature.
    :param fingerprint: Whether there is a FINGERPRINT.
    """
    transaction = os.urandom(12) if transaction is None else transaction
    body = _encode_all(attributes)
    if key is not None:
        signed = header(kind, len(body) + 24, transaction) + body
        body += attribute(MESSAGE_INTEGRITY, _sign(signed, key))
    body += _encode_all(after)
    if fingerprint:
        checked = header(kind, len(body) + 8, transaction) + body
        body += attribute(FINGERPRINT, struct.pack("!I", fingerprint_of(checked)))
    return header(kind, len(body), transaction) + body


def error_code(code: int, reason: str = "Error") -> Attribute:
    return ERROR_CODE, bytes([0, 0, code // 100, code % 100]) + reason.encode()


def fingerprint_of(data: bytes) -> int:
    """
    Return the FINGERPRINT which follows some data.
    """
    return binascii.crc32(data) ^ 0x5354554E


def header(kind: int, length: int, transaction: bytes, cookie: int = COOKIE) -> bytes:
    return struct.pack("!HHI", kind & 0xFFFF, length & 0xFFFF, cookie) + transaction


def read(data: bytes) -> Reading | None:
    """
    Read a message, or return `None` where it is not well-formed.

    The values of attributes are not looked at.
    """
    if len(data) < 20:
        return None
    kind, length, cookie = struct.unpack("!HHI", data[:8])
    if kind >> 14 or cookie != COOKIE or length % 4 or length != len(data) - 20:
        return None
    attributes: list[Attribute] = []
    signed = None
    rest = data[20:]
    while rest:
        kind_of, claimed = struct.unpack("!HH", rest[:4])
        padded = claimed + -claimed % 4
        if len(rest) < 4 + padded or FINGERPRINT in dict(attributes):
            return None
        value, before = rest[4 : 4 + claimed], data[: len(data) - len(rest)]
        if kind_of == MESSAGE_INTEGRITY and signed is None:
            signed = header(kind, len(before) - 20 + 24, data[8:20]) + before[20:]
        elif kind_of == FINGERPRINT:
            checked = header(kind, len(before) - 20 + 8, data[8:20]) + before[20:]
            if value != struct.pack("!I", fingerprint_of(checked)):
                return None
        attributes.append((kind_of, value))
        rest = rest[4 + padded :]
    return Reading(kind, data[8:20], tuple(attributes), signed)


def xor_address(host: str, port: int, transaction: bytes) -> bytes:
    """
    Encode the value of XOR-MAPPED-ADDRESS.
    """
    address = ipaddress.ip_address(host)
    plain = struct.pack("!H", port) + address.packed
    mask = struct.pack("!HI", COOKIE >> 16, COOKIE) + transaction
    family = 1 if address.version == 4 else 2
    return bytes([0, family, *(a ^ b for a, b in zip(plain, mask, strict=False))])


def _encode_all(attributes: Iterable[Attribute | bytes]) -> bytes:
    parts: Sequence[bytes] = [
        x if isinstance(x, bytes) else attribute(*x) for x in attributes
    ]
    return b"".join(parts)


def _sign(data: bytes, key: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha1).digest()
