"""
What is a STUN message, and what is discarded silently (RFC 8489 section 6.3).
"""

import struct

import pytest
from aioice import stun

from aiortc_restart.ice.messages import (
    MAX_ATTRIBUTES,
    UnknownAttributes,
    is_signed,
    parse_message,
)

KEY = b"password"

TRANSACTION = b"transactions"


def attribute(number: int, value: bytes, length: int | None = None) -> bytes:
    """
    Return an attribute, which may claim another length than it has.
    """
    claimed = len(value) if length is None else length
    return struct.pack("!HH", number, claimed) + value + bytes(-len(value) % 4)


def check(**attributes: object) -> bytes:
    """
    Return a check as a peer sends it, signed.
    """
    message = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.REQUEST,
        transaction_id=TRANSACTION,
    )
    message.attributes["USERNAME"] = "ours:theirs"
    message.attributes["PRIORITY"] = 1
    for name, value in attributes.items():
        message.attributes[name.replace("_", "-")] = value
    message.add_message_integrity(KEY)
    return bytes(message)


def message(*attributes: bytes, kind: int = 1, length: int | None = None) -> bytes:
    """
    Return an unsigned message.
    """
    body = b"".join(attributes)
    claimed = len(body) if length is None else length
    return struct.pack("!HHI", kind, claimed, stun.COOKIE) + TRANSACTION + body


def test_check() -> None:
    """
    What aioice makes is read as aioice reads it.
    """
    data = check(ICE_CONTROLLING=7, USE_CANDIDATE=None)
    ours, theirs = parse_message(data), stun.parse_message(data)
    assert ours is not None
    assert ours.attributes == theirs.attributes
    assert ours.transaction_id == theirs.transaction_id
    assert ours.check_message_integrity(KEY)
    assert not ours.check_message_integrity(b"another")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message()[:19],
        b"\x00\x01\x00\x00" + bytes(16),
        message(length=4),
        message(attribute(0x24, bytes(4)), length=4),
        message(attribute(0x24, b"x")),
        message(attribute(0x24, bytes(8))),
        message(attribute(0x8029, bytes(4))),
        message(attribute(0x802A, b"x")),
        message(attribute(0x000C, b"x")),
        message(attribute(0x000D, b"x")),
        message(attribute(0x0008, bytes(19))),
        message(attribute(0x8028, bytes(4))),
        message(attribute(0x8028, b"x")),
        message(attribute(0x0006, b"\xff\xff")),
        message(attribute(0x0006, bytes(4), 65535)),
        message(attribute(0x0006, bytes(4), 5)),
        message(attribute(0x0006, b"a" * 514)),
        message(attribute(0x0009, b"x")),
        message(attribute(0x0020, bytes(8))),
        message(attribute(0x0020, b"\x00\x01" + bytes(9))),
        message(b"\x00\x24"),
        message(kind=0x0FFF & 0x3EEF),
        message(kind=0x4001),
        message(kind=0x8001),
        check()[:-4],
        check() + bytes(4),
        message(*(MAX_ATTRIBUTES + 1) * [attribute(0x8022, b"")]),
    ],
)
def test_malformed(data: bytes) -> None:
    """
    A malformed message is none, and nothing is raised.
    """
    assert parse_message(data) is None


def test_repeated_attribute() -> None:
    """
    Of an attribute that occurs twice the first one counts.
    """
    # RFC 8489 section 14
    found = parse_message(
        message(*(attribute(0x24, struct.pack("!I", x)) for x in (1, 2)))
    )
    assert found is not None
    assert found.attributes == {"PRIORITY": 1}


def test_repeated_integrity() -> None:
    """
    Of ten signatures the first one counts, which covers nothing that follows.
    """
    signed = check()
    integrity = signed[-32:-8]
    body = signed[20:-8] + 9 * integrity + attribute(0x25, b"")
    found = parse_message(message(body))
    assert found is not None
    assert "USE-CANDIDATE" not in found.attributes
    assert found.check_message_integrity(KEY)


def test_unknown_attributes() -> None:
    """
    Attributes that have to be understood are told from those that have not, and from
    those that nobody has signed.
    """
    # RFC 8489 sections 14 and 14.5
    found = parse_message(
        message(
            attribute(0x7FFF, b"x"), attribute(0xC001, b"x"), attribute(0x0002, b"")
        )
    )
    assert found is not None
    assert found.unknown == (0x7FFF, 0x0002)
    found = parse_message(message(check()[20:-8], attribute(0x7FFF, b"x")))
    assert found is not None
    assert found.unknown == ()


def test_answer_to_unknown_attributes() -> None:
    """
    The answer names the attributes, and is signed.
    """
    # RFC 8489 section 6.3.1
    request = parse_message(message(attribute(0x7FFF, b"x")))
    assert request is not None
    answer = UnknownAttributes(request, request.unknown)
    answer.add_message_integrity(KEY)
    data = bytes(answer)
    assert attribute(0x000A, b"\x7f\xff") in data
    found = parse_message(data)
    assert found is not None
    assert found.error_code == 420
    assert found.check_message_integrity(KEY)
    assert stun.parse_message(data).check_message_integrity(KEY)


def test_signed() -> None:
    """
    A signature is told from a forged one without parsing the rest.
    """
    data = check()
    assert is_signed(data, KEY)
    assert not is_signed(data, b"another")
    assert not is_signed(data[:-32], KEY)
    assert not is_signed(data[:-9], KEY)
    for i in (*range(2), *range(4, len(data) - 8)):
        changed = data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]
        assert not is_signed(changed, KEY)
    late = message(*MAX_ATTRIBUTES * [attribute(0x8022, b"")], data[-32:])
    assert not is_signed(late, KEY)
