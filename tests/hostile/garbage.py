"""
What an authentic peer may send through DTLS and SRTP that no peer should.
"""

import random
import struct
from typing import Any

from aiortc.rtcsctptransport import Chunk, serialize_packet

Association = Any
"aiortc's `RTCSctpTransport`, whose private names the peer knows."

DATA_CHANNEL_OPEN = 3
DCEP = 50
STRING = 51


class Raw(Chunk):
    """
    Chunks which have been encoded already.

    :param data: These.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def __bytes__(self) -> bytes:
        return self._data


def chunk(
    kind: int, body: bytes = b"", flags: int = 0, length: int | None = None
) -> bytes:
    """
    Return a chunk of SCTP.

    :param length: The length that it claims to have, if another.
    """
    claimed = 4 + len(body) if length is None else length
    return struct.pack("!BBH", kind, flags, claimed) + body + bytes(-len(body) % 4)


def packet(association: Association, *chunks: bytes, tag: int | None = None) -> bytes:
    """
    Return a packet with the checksum and the verification tag that the other side of an
    association expects.

    :param tag: Another verification tag.
    """
    tag = association._remote_verification_tag if tag is None else tag
    return serialize_packet(5000, 5000, tag, Raw(b"".join(chunks)))


def parameter(kind: int, body: bytes = b"", length: int | None = None) -> bytes:
    """
    Return a parameter of a chunk.

    :param length: The length that it claims to have, if another.
    """
    claimed = 4 + len(body) if length is None else length
    return struct.pack("!HH", kind, claimed) + body


CHUNKS: dict[str, tuple[bytes, ...]] = {
    "none": (),
    "no length": (chunk(0, bytes(12), length=0),),
    "a length of three": (chunk(0, bytes(12), length=3),),
    "a length beyond the end": (chunk(0, bytes(12), length=65535),),
    "unknown": (chunk(99, bytes(20)), chunk(0x3F), chunk(0xFF, bytes(3))),
    "DATA without body": (chunk(0),),
    "DATA with half a header": (chunk(0, bytes(7), flags=3),),
    "DATA far ahead": (chunk(0, struct.pack("!LHHL", 2**31, 0, 0, STRING), flags=3),),
    "INIT without body": (chunk(1),),
    "INIT beside another chunk": (chunk(1, bytes(16)), chunk(11)),
    "INIT ACK without body": (chunk(2),),
    "INIT ACK": (chunk(2, bytes(16)),),
    "SACK without body": (chunk(3),),
    "SACK that lies": (chunk(3, struct.pack("!LLHH", 0, 0, 400, 400)),),
    "SACK of the future": (chunk(3, struct.pack("!LLHH", 2**31, 1000, 0, 0)),),
    "HEARTBEAT without body": (chunk(4),),
    "HEARTBEAT with half a parameter": (chunk(4, b"\x00\x01\x00"),),
    "HEARTBEAT ACK": (chunk(5, parameter(1, bytes(8), length=60000)),),
    "ERROR": (chunk(9, parameter(3)), chunk(9, b"\x00")),
    "COOKIE ECHO of zeros": (chunk(10, bytes(40)),),
    "COOKIE ECHO without body": (chunk(10),),
    "COOKIE ACK": (chunk(11),),
    "RECONFIG without body": (chunk(130),),
    "RECONFIG with empty parameters": tuple(
        chunk(130, parameter(kind)) for kind in (13, 14, 15, 16, 17, 18)
    ),
    "RECONFIG with short parameters": tuple(
        chunk(130, parameter(kind, bytes(5))) for kind in (13, 14, 15, 16, 17, 18)
    ),
    "RECONFIG of a stream that is not there": (
        chunk(130, parameter(13, struct.pack("!LLLH", 1, 1, 1, 999))),
    ),
    "FORWARD TSN without body": (chunk(192),),
    "FORWARD TSN with half a stream": (chunk(192, bytes(6)),),
}
"Chunks that are malformed, or mean nothing. Those that end an association are not."

ENDLESS: dict[str, bytes] = {
    f"chunk {kind}": chunk(kind, prefix + parameter(1, bytes(8), length=0))
    for kind, prefix in ((1, bytes(16)), (4, b""), (5, b""), (9, b""), (130, b""))
}
"Chunks whose parameters claim to have no length, so that they never end."

MESSAGES: dict[str, tuple[int, bytes]] = {
    "empty": (DCEP, b""),
    "unknown": (DCEP, b"\x07\x07"),
    "an acknowledgement": (DCEP, b"\x02"),
    "half an OPEN": (DCEP, bytes([DATA_CHANNEL_OPEN, 0, 0])),
    "an OPEN that lies": (
        DCEP,
        struct.pack("!BBHLHH", DATA_CHANNEL_OPEN, 0, 0, 0, 65535, 65535),
    ),
    "an OPEN with another encoding": (
        DCEP,
        struct.pack("!BBHLHH", DATA_CHANNEL_OPEN, 0, 0, 0, 4, 0) + b"\xff\xfe\xfd\xfc",
    ),
    "a string with another encoding": (STRING, b"\xff\xfe\xfd\xfc"),
    "an unknown protocol": (4711, b"text"),
}
"Messages with their payload protocols, on a stream of a channel or of none."


def rtcp(kind: int, count: int, body: bytes, padding: int = 0) -> bytes:
    """
    Return a packet of RTCP with a length that fits.
    """
    body += bytes(-len(body) % 4)
    first = 0x80 | padding << 5 | count
    return struct.pack("!BBH", first, kind, len(body) // 4) + body


def rtcp_packets() -> list[bytes]:
    """
    Return RTCP packets that are malformed: too short or too long for their counts.
    """
    found = []
    for kind in range(192, 212):
        for count in (0, 1, 4, 15, 31):
            for body in (b"", bytes(3), bytes(8), bytes(12), b"\xff" * 28, bytes(60)):
                found.append(rtcp(kind, count, bytes(4) + body))
        found.append(rtcp(kind, 1, bytes(4) + b"\x00\x00\x00\xff", padding=1))
        found.append(rtcp(kind, 1, bytes(8), padding=1))
    remb = struct.pack("!LL", 1, 0) + b"REMB"
    for tail in (b"", b"\xff", b"\xff\xff\xff\xff", b"\x05\x00\x00\x00" + bytes(4)):
        found.append(rtcp(206, 15, remb + tail))
    return found


def rtp(
    payload_type: int, ssrc: int, number: int, rest: bytes = b"", first: int = 0x80
) -> bytes:
    """
    Return a packet of RTP.

    :param rest: What follows its header of twelve bytes.
    :param first: Its first byte: version, padding, extension and contributors.
    """
    return struct.pack("!BBHLL", first, payload_type, number, number * 960, ssrc) + rest


def rtp_packets(payload_types: list[int], ssrc: int, seed: int = 0) -> list[bytes]:
    """
    Return RTP packets that are malformed, or carry what no codec takes.
    """
    chance = random.Random(seed)
    found = []
    number = chance.randrange(2**15)
    for kind in payload_types:
        for rest in (
            b"",
            b"\x00",
            b"\xff",
            b"\xff\xff",
            b"\x90\x80",
            b"\x90\xe0\xff",
            b"\x7c",
            b"\x7c\x85",
            b"\x78\xff\xff",
            b"\x78\x00\x00\x00\x00",
            chance.randbytes(40),
            chance.randbytes(1000),
        ):
            number += 1
            found.append(rtp(kind, ssrc, number % 65536, rest))
            found.append(rtp(kind | 0x80, ssrc, number % 65536, rest))
            # Padding that is longer than all, or nothing.
            found.append(rtp(kind, ssrc, number % 65536, rest + b"\xff", first=0xA0))
            found.append(rtp(kind, ssrc, number % 65536, rest + b"\x00", first=0xA0))
        for extension in (
            b"\xbe\xde\x00\x00",
            b"\xbe\xde\x00\x01\xff\xff\xff\xff",
            b"\xbe\xde\x00\x01\x1f\x00\x00\x00",
            b"\xbe\xde\x00\x01\x10\x80\xff\x2f",
            b"\x10\x00\x00\x01\x01\xff\x00\x00",
            b"\x10\x00\x00\x01\x01\x00\x02\x05",
            b"\x43\x21\x00\x01\x00\x00\x00\x00",
        ):
            number += 1
            found.append(rtp(kind, ssrc, number % 65536, extension, first=0x90))
            found.append(
                rtp(kind, ssrc, number % 65536, extension + bytes(9), first=0xB0)
            )
    return found
