"""
Datagrams that are no part of a call.
"""

import os
import struct

from . import wire

EMPTY = "empty"
MALFORMED = "malformed STUN"
NOT_A_PROTOCOL = "not a protocol"
STRANGER = "stranger"
TOO_LONG = "too long"
UNAUTHENTICATED = "unauthenticated STUN"

ALERT = 21
CHANGE_CIPHER_SPEC = 20
HANDSHAKE = 22
APPLICATION_DATA = 23


def record(
    kind: int, body: bytes, epoch: int = 0, number: int = 0, length: int | None = None
) -> bytes:
    """
    Return a record of DTLS 1.2 that nobody has encrypted (RFC 6347 section 4.1).

    :param length: The length that it claims to have, if another.
    """
    claimed = len(body) if length is None else length
    head = struct.pack("!BHHHIH", kind, 0xFEFD, epoch, 0, number, claimed & 0xFFFF)
    return head + body


def handshake(
    kind: int, body: bytes, length: int | None = None, at: int = 0, number: int = 0
) -> bytes:
    """
    Return a handshake message in a record (RFC 6347 section 4.2.2).

    :param length: The length that the message claims to have, if another.
    :param at: Where the fragment claims to begin.
    :param number: The place of the message in the handshake.
    """
    claimed = len(body) if length is None else length
    lengths = [x.to_bytes(3, "big") for x in (claimed, at, len(body))]
    header = bytes([kind]) + lengths[0] + struct.pack("!H", number)
    return record(HANDSHAKE, header + lengths[1] + lengths[2] + body)


ALERTS = {
    "close_notify": record(ALERT, b"\x01\x00"),
    "close_notify, fatal": record(ALERT, b"\x02\x00"),
    "handshake_failure": record(ALERT, b"\x02\x28"),
    "bad_record_mac": record(ALERT, b"\x02\x14"),
    "internal_error": record(ALERT, b"\x02\x50"),
    "no_renegotiation": record(ALERT, b"\x01\x64"),
    "user_canceled": record(ALERT, b"\x01\x5a"),
    "unknown alert": record(ALERT, b"\x02\xff"),
    "level 0": record(ALERT, b"\x00\x28"),
    "of one byte": record(ALERT, b"\x02"),
    "of epoch 1": record(ALERT, b"\x02\x28", epoch=1),
    "of a late epoch": record(ALERT, b"\x02\x28", epoch=65535),
    "with a high number": record(ALERT, b"\x02\x28", number=2**32 - 1),
}
"Forged alerts: nothing of them is authentic."

RECORDS = {
    "change_cipher_spec": record(CHANGE_CIPHER_SPEC, b"\x01"),
    "wrong change_cipher_spec": record(CHANGE_CIPHER_SPEC, b"\x07\x07"),
    "change_cipher_spec and Finished": (
        record(CHANGE_CIPHER_SPEC, b"\x01", number=7)
        + record(HANDSHAKE, bytes(range(48)), epoch=1)
    ),
    "application data": record(APPLICATION_DATA, bytes(40)),
    "application data of epoch 1": record(APPLICATION_DATA, bytes(40), epoch=1),
    "no body": record(HANDSHAKE, b""),
    "a body too short": record(HANDSHAKE, bytes(20), length=400),
    "a length of 65,535": record(HANDSHAKE, bytes(20), length=65535),
    "half a header": record(HANDSHAKE, b"")[:7],
    "one byte": b"\x16",
    "unknown type": record(63, bytes(20)),
    "heartbeat": record(24, b"\x01\x40\x00" + bytes(16)),
    "another version": b"\x16\x03\x01" + record(HANDSHAKE, bytes(20))[3:],
}
"Forged records, which a handshake drops (RFC 6347 section 4.1.2.7)."

MESSAGES = {
    "hello_request": handshake(0, b""),
    "client_hello of zeros": handshake(1, bytes(60)),
    "client_hello, empty": handshake(1, b""),
    "server_hello of zeros": handshake(2, bytes(60)),
    "hello_verify_request": handshake(3, b"\xfe\xff\x14" + bytes(20)),
    "certificate that lies": handshake(11, b"\xff\xff\xff" + bytes(20)),
    "finished": handshake(20, bytes(12)),
    "unknown message": handshake(99, bytes(12)),
    "a message of 16 MB": handshake(11, bytes(20), length=0xFFFFFF),
    "a fragment beyond the end": handshake(11, bytes(20), length=10, at=60000),
}
"Forged handshake messages."

RENUMBERED = {
    name: data[:5] + (2**40).to_bytes(6, "big") + data[11:]
    for name, data in (
        ("change_cipher_spec", RECORDS["change_cipher_spec"]),
        ("hello_request", MESSAGES["hello_request"]),
        ("client_hello of zeros", MESSAGES["client_hello of zeros"]),
        ("certificate that lies", MESSAGES["certificate that lies"]),
    )
}
"""
The same with a number after which no other record is new: whoever keeps a window
(RFC 6347 section 4.1.2.6) before there are keys drops all that the peer sends.
"""

JUNK: dict[str, tuple[bytes, str]] = {
    "empty": (b"", EMPTY),
    "long SRTP": (b"\x80" + bytes(4000), TOO_LONG),
    "longest SRTP": (b"\x80" + bytes(65506), TOO_LONG),
    "long DTLS": (record(APPLICATION_DATA, bytes(4000)), TOO_LONG),
    "long nothing": (b"\xff" * 4000, NOT_A_PROTOCOL),
    "SRTP": (b"\x80" + bytes(100), STRANGER),
    "SRTCP": (b"\x80\xc8" + bytes(100), STRANGER),
    "one byte of SRTP": (b"\x80", STRANGER),
    "one byte of DTLS": (b"\x16", STRANGER),
    **{f"alert: {name}": (data, STRANGER) for name, data in ALERTS.items()},
    **{
        f"first byte {first}": (bytes([first]) + bytes(30), NOT_A_PROTOCOL)
        for first in (4, 16, 19, 64, 79, 80, 127, 192, 255)
    },
    "no cookie": (wire.header(1, 0, bytes(12), cookie=0), UNAUTHENTICATED),
    "half a header": (b"\x00\x01\x00\x00", UNAUTHENTICATED),
    "indication": (wire.encode(wire.INDICATION), MALFORMED),
    "response": (wire.encode(wire.SUCCESS), UNAUTHENTICATED),
    "allocate request": (wire.encode(0x0003), MALFORMED),
}
"What a stranger may send, and why it is dropped."


def noise(count: int) -> list[bytes]:
    """
    Return datagrams without any meaning.
    """
    return [os.urandom(1 + i * 97 % 1400) for i in range(count)]
