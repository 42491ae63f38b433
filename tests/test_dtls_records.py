"""
Which records of a DTLS handshake are given to OpenSSL (RFC 6347 section 4.1.2.7).
"""

import struct

import pytest

from aiortc_restart._aiortc.records import acceptable, renumbered

ALERT = b"\x02\x28"


def fragment(
    kind: int, length: int, offset: int, body: bytes, claimed: int | None = None
) -> bytes:
    """
    Return a fragment of a handshake message.
    """
    size = len(body) if claimed is None else claimed
    return (
        bytes([kind])
        + length.to_bytes(3, "big")
        + bytes(2)
        + offset.to_bytes(3, "big")
        + size.to_bytes(3, "big")
        + body
    )


def record(kind: int, body: bytes, epoch: int = 0, version: int = 0xFEFD) -> bytes:
    return struct.pack("!BHHIHH", kind, version, epoch, 0, 1, len(body)) + body


CLIENT_HELLO = record(22, fragment(1, 4, 0, b"abcd"))
SERVER_HELLO = record(22, fragment(2, 4, 0, b"abcd") + fragment(14, 0, 0, b""))


@pytest.mark.parametrize(
    "data, is_server",
    [
        (CLIENT_HELLO, True),
        (SERVER_HELLO, False),
        (CLIENT_HELLO + record(20, b"\x01") + record(22, b"secret", epoch=1), True),
        (record(22, fragment(11, 900, 300, bytes(300))), True),
        (record(21, ALERT, epoch=1), True),
        (record(23, b"data", epoch=1), False),
    ],
)
def test_accepted(data: bytes, is_server: bool) -> None:
    """
    What a peer sends in a handshake, and what OpenSSL authenticates, is taken.
    """
    assert acceptable(data, is_server) == (data, False)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16",
        b"\x16" * 13,
        CLIENT_HELLO[:-1],
        record(22, fragment(1, 4, 0, b"abcd"), version=0x0303),
        record(22, b""),
        record(22, b"\x01" * 11),
        record(22, fragment(1, 4, 0, b"abcd", claimed=5)),
        record(22, fragment(1, 4, 1, b"abcd")),
        record(22, fragment(1, 0xFFFFFF, 0, b"abcd")),
        record(22, fragment(1, 4, 0, b"abcd") + b"x"),
        record(22, fragment(0, 0, 0, b"")),
        record(22, fragment(20, 12, 0, bytes(12))),
        SERVER_HELLO,
        record(20, b"\x02"),
        record(20, b"\x01\x01"),
        record(23, b"data"),
        record(24, b"heartbeat"),
    ],
)
def test_discarded(data: bytes) -> None:
    """
    What no client sends before the keys change is discarded.
    """
    assert acceptable(data, True) == (b"", False)


def test_alert() -> None:
    """
    An alert that nobody has signed is discarded, and what comes with it is taken.
    """
    data = record(21, ALERT) + CLIENT_HELLO + record(21, ALERT)
    assert acceptable(data, True) == (CLIENT_HELLO, True)


def test_numbers() -> None:
    """
    Records that nobody has signed are numbered anew, and signed ones are left alone.
    """
    high = CLIENT_HELLO[:5] + b"\xff" * 6 + CLIENT_HELLO[11:]
    signed = record(22, b"secret", epoch=1)
    data, number = renumbered(high + signed + high, 7)
    assert number == 9
    size = len(CLIENT_HELLO)
    assert data[5:11] == (7).to_bytes(6, "big")
    assert data[size : size + len(signed)] == signed
    assert data[-size + 5 : -size + 11] == (8).to_bytes(6, "big")
    assert len(data) == len(high + signed + high)
