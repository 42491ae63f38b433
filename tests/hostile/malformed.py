"""
Malformed checks.
"""

import struct
from collections.abc import Iterator

from aiortc import RTCIceParameters

from . import wire
from .peer import PARAMETERS, check
from .wire import Attribute

Named = Iterator[tuple[str, bytes]]
"Messages with what is wrong about them."

NUMBERS = (
    ("PRIORITY", wire.PRIORITY, 4),
    ("ICE-CONTROLLED", wire.ICE_CONTROLLED, 8),
    ("ICE-CONTROLLING", wire.ICE_CONTROLLING, 8),
    ("LIFETIME", wire.LIFETIME, 4),
    ("CHANNEL-NUMBER", wire.CHANNEL_NUMBER, 4),
)
"Attributes of a fixed length, and this."

ADDRESSES = (
    ("MAPPED-ADDRESS", wire.MAPPED_ADDRESS),
    ("XOR-MAPPED-ADDRESS", wire.XOR_MAPPED_ADDRESS),
    ("XOR-PEER-ADDRESS", wire.XOR_PEER_ADDRESS),
    ("XOR-RELAYED-ADDRESS", wire.XOR_RELAYED_ADDRESS),
)


class Malformed:
    """
    Makes checks that are authentic but for being malformed.

    :param remote: The credentials of the receiver.
    :param local: The credentials of the sender.
    """

    def __init__(self, remote: RTCIceParameters, local: RTCIceParameters) -> None:
        self._local = local
        self._remote = remote

    def all(self) -> Named:
        yield from self._addresses()
        yield from self._headers()
        yield from self._lengths()
        yield from self._signatures()
        yield from self._texts()

    def _addresses(self) -> Named:
        for name, kind in ADDRESSES:
            for value in (b"", b"\x00", b"\x00\x01", b"\x00\x01\x00\x00", bytes(8)):
                yield f"{name} {value.hex()}", self._with((kind, value))
            for family, length in ((1, 5), (1, 7), (1, 18), (2, 6), (2, 17), (3, 6)):
                value = bytes([0, family]) + bytes(length)
                yield (
                    f"{name} of family {family} and {length}",
                    self._with((kind, value)),
                )

    def _headers(self) -> Named:
        good = self._with()
        kind, transaction = wire.REQUEST, good[8:20]
        for length in (0, len(good) - 24, len(good) - 19, len(good) - 16, 65535, 65532):
            header = wire.header(kind, length, transaction)
            yield f"header with {length}", header + good[20:]
        header = wire.header(kind, len(good) - 20, transaction, cookie=0x2112A443)
        yield "another cookie", header + good[20:]
        for other in (0x0000, 0x0002, 0x0003, 0x0004, 0x0008, 0x0009, 0x03FF, 0x3EEF):
            yield f"method {other:#x}", struct.pack("!H", other) + good[2:]
        for other in (0x4001, 0x8001, 0xC001):
            yield f"first bits of {other:#x}", struct.pack("!H", other) + good[2:]
        for end in range(0, len(good), 3):
            yield f"{end} bytes of {len(good)}", good[:end]
        yield "one byte more", good + b"\x00"
        yield "four bytes more", good + bytes(4)

    def _lengths(self) -> Named:
        for name, kind, right in NUMBERS:
            for length in sorted({0, 1, 3, 5, 7, 9, 300} - {right}):
                data = self._with((kind, bytes(length)), omit=(kind,))
                yield f"{name} of {length}", data
        for claimed in (1, 65533, 65535):
            unknown = wire.attribute(0x8023, b"", length=claimed)
            yield f"a length of {claimed}", self._with(unknown)
            username = wire.attribute(wire.USERNAME, b"", length=claimed)
            yield f"USERNAME of {claimed}", self._with(username)
        yield "half an attribute", self._with(b"\x00\x24")
        yield "a cut attribute", self._with(b"\x00\x24\x00\x08" + bytes(4))

    def _signatures(self) -> Named:
        for length in (0, 19, 21, 32, 64):
            # Before the right one.
            data = self._with((wire.MESSAGE_INTEGRITY, bytes(length)))
            yield f"MESSAGE-INTEGRITY of {length}", data
        for length in (0, 1, 3, 4, 5, 8):
            yield (
                f"FINGERPRINT of {length} zeros",
                check(
                    self._remote,
                    self._local,
                    fingerprint=False,
                    after=[(wire.FINGERPRINT, bytes(length))],
                ),
            )
        yield (
            "something after FINGERPRINT",
            check(self._remote, self._local, after=[(wire.FINGERPRINT, b"1234")]),
        )

    def _texts(self) -> Named:
        for value in (b"", b"\x00\x00\x04", bytes(4) + b"\xff\xfe"):
            yield f"ERROR-CODE {value.hex()}", self._with((wire.ERROR_CODE, value))
        for name, kind in (("SOFTWARE", wire.SOFTWARE), ("REALM", 0x0014)):
            yield f"{name} in another encoding", self._with((kind, b"\xff\xfe\xfd"))

    def _with(self, *more: Attribute | bytes, omit: tuple[int, ...] = ()) -> bytes:
        return check(self._remote, self._local, more=more, omit=omit)


def malformed(
    remote: RTCIceParameters, local: RTCIceParameters = PARAMETERS
) -> dict[str, bytes]:
    """
    Return malformed checks, by what is wrong about them.

    :param remote: The credentials of the receiver.
    :param local: The credentials of the sender.
    """
    return dict(Malformed(remote, local).all())
