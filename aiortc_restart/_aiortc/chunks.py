"""
Which packets of SCTP are well-formed. aiortc reads a parameter without a length again
and again, and takes a chunk without a body for one full of zeros (RFC 9260 section 3).
"""

import struct

COMMON_HEADER_LENGTH = 12

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN = range(8)
ERROR = 9
RECONFIG = 130
FORWARD_TSN = 192

# How much each chunk has before its parameters or its data, in bytes.
FIXED_LENGTHS = {
    DATA: 12,
    INIT: 16,
    INIT_ACK: 16,
    SACK: 12,
    SHUTDOWN: 4,
    FORWARD_TSN: 4,
}

# The chunks of which the rest is parameters.
PARAMETERS = frozenset(
    {INIT, INIT_ACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, ERROR, RECONFIG}
)

_CHUNK = struct.Struct("!BBH")
_LENGTH = struct.Struct("!H")
_INIT = struct.Struct("!LLHHL")
_PAIR = struct.Struct("!HH")


def check_packet(data: bytes) -> None:
    """
    Check the chunks of a packet.

    :raises ValueError: if it is malformed.
    """
    end = len(data)
    if end > COMMON_HEADER_LENGTH + 16 and not data[COMMON_HEADER_LENGTH]:
        # By far most packets are one DATA chunk.
        (length,) = _LENGTH.unpack_from(data, COMMON_HEADER_LENGTH + 2)
        if length >= 16 and COMMON_HEADER_LENGTH + length + -length % 4 == end:
            return
    pos, kinds, forwards = COMMON_HEADER_LENGTH, 0, 0
    while pos + _CHUNK.size <= end:
        kind, _, length = _CHUNK.unpack_from(data, pos)
        if length < _CHUNK.size or pos + length > end:
            raise ValueError(f"An SCTP chunk has a length of {length}")
        if kind == DATA:
            if length < _CHUNK.size + FIXED_LENGTHS[DATA]:
                raise ValueError("An SCTP DATA chunk is too short")
        else:
            _check_chunk(kind, data[pos + _CHUNK.size : pos + length])
            forwards += kind == FORWARD_TSN
        kinds |= 1 << (kind if kind in (INIT, INIT_ACK) else DATA)
        pos += length + -length % 4
    # Nothing is bundled with these (RFC 9260 section 6.10).
    if kinds.bit_count() > 1:
        raise ValueError("An SCTP INIT is not alone in its packet")
    # The last one says all (RFC 3758 section 3.2), and each takes its time.
    if forwards > 1:
        raise ValueError("There is more than one FORWARD TSN in an SCTP packet")


def _check_chunk(kind: int, body: bytes) -> None:
    fixed = FIXED_LENGTHS.get(kind, 0)
    if len(body) < fixed:
        raise ValueError(f"An SCTP chunk of type {kind} is too short")
    if kind in (INIT, INIT_ACK):
        tag, _, outbound, inbound, _ = _INIT.unpack_from(body)
        if not (tag and outbound and inbound):
            raise ValueError("An SCTP INIT has no tag or no streams")
    elif kind == SACK:
        gaps, duplicates = _PAIR.unpack_from(body, 8)
        if len(body) < fixed + 4 * (gaps + duplicates):
            raise ValueError("An SCTP SACK is too short")
    elif kind == FORWARD_TSN and len(body) % 4:
        raise ValueError("An SCTP FORWARD TSN is too short")
    if kind in PARAMETERS:
        _check_parameters(body[fixed:])


def _check_parameters(body: bytes) -> None:
    pos = 0
    while pos + _PAIR.size <= len(body):
        _, length = _PAIR.unpack_from(body, pos)
        if length < _PAIR.size or pos + length > len(body):
            raise ValueError(f"An SCTP parameter has a length of {length}")
        pos += length + -length % 4
