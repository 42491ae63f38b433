"""
STUN messages, right ones and mutations of them, for the parser and for the sockets of a
call.

What the parser accepts is compared with another reading (`tests/hostile/wire.py`); what
it refuses is malformed by that reading, too. Whatever a socket gets, nothing is raised,
the path stays where it is, and a restart works.
"""

import asyncio
import ipaddress
import random
import struct
from collections import Counter
from dataclasses import dataclass

from aiortc import RTCIceParameters

from aiortc_restart import RTCIceTransport
from aiortc_restart.ice.messages import MAX_ATTRIBUTES, parse_message

from ..agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    exchange,
    offer_restart,
    socket_address,
    switched,
)
from ..hostile import wire
from ..hostile.path import Observer
from ..hostile.wire import Attribute, Reading
from ..network import Address, Network
from ..network import run as run_on_network

KEY = "passwordofthevictimpassword"

VICTIM = RTCIceParameters(usernameFragment="victim12", password=KEY)
PEER = RTCIceParameters(usernameFragment="hostile1", password="p" * 24)

BATCH = 2000
"How many messages one call gets."

KINDS = [wire.REQUEST, wire.INDICATION, wire.SUCCESS, wire.ERROR]

METHODS = frozenset({1, 2, 3, 4, 6, 7, 8, 9})
"The methods that aioice knows."

NUMBERS = {
    "MAPPED-ADDRESS": 0x0001,
    "CHANGE-REQUEST": 0x0003,
    "SOURCE-ADDRESS": 0x0004,
    "CHANGED-ADDRESS": 0x0005,
    "USERNAME": wire.USERNAME,
    "MESSAGE-INTEGRITY": wire.MESSAGE_INTEGRITY,
    "ERROR-CODE": wire.ERROR_CODE,
    "CHANNEL-NUMBER": wire.CHANNEL_NUMBER,
    "LIFETIME": wire.LIFETIME,
    "XOR-PEER-ADDRESS": wire.XOR_PEER_ADDRESS,
    "DATA": wire.DATA,
    "REALM": 0x0014,
    "NONCE": 0x0015,
    "XOR-RELAYED-ADDRESS": wire.XOR_RELAYED_ADDRESS,
    "REQUESTED-TRANSPORT": 0x0019,
    "XOR-MAPPED-ADDRESS": wire.XOR_MAPPED_ADDRESS,
    "PRIORITY": wire.PRIORITY,
    "USE-CANDIDATE": wire.USE_CANDIDATE,
    "SOFTWARE": wire.SOFTWARE,
    "FINGERPRINT": wire.FINGERPRINT,
    "ICE-CONTROLLED": wire.ICE_CONTROLLED,
    "ICE-CONTROLLING": wire.ICE_CONTROLLING,
    "RESPONSE-ORIGIN": 0x802B,
    "OTHER-ADDRESS": 0x802C,
}
"The attributes that aioice knows."

XORED = {"XOR-PEER-ADDRESS", "XOR-RELAYED-ADDRESS", "XOR-MAPPED-ADDRESS"}


@dataclass
class Case:
    """
    A message, and what it was made from.
    """

    data: bytes
    history: str


class Generator:
    """
    Makes messages and mutates them.

    :param chance: What decides.
    :param victim: The credentials of the receiver.
    :param peer: The credentials of the sender.
    """

    def __init__(
        self,
        chance: random.Random,
        victim: RTCIceParameters = VICTIM,
        peer: RTCIceParameters = PEER,
    ) -> None:
        self._chance = chance
        self._peer = peer
        self._victim = victim

    def case(self) -> Case:
        """
        Return another message.
        """
        chance = self._chance
        attributes = self._attributes()
        steps = []
        for _ in range(chance.choice([0, 0, 1, 1, 2, 4])):
            step = chance.choice(
                [
                    self._add,
                    self._drop,
                    self._duplicate,
                    self._lie,
                    self._resize,
                    self._shuffle,
                ]
            )
            step(attributes)
            steps.append(step.__name__[1:])
        data = self._encode(attributes)
        if chance.random() < 0.4:
            step_of_bytes = chance.choice(
                [self._cut, self._extend, self._flip, self._head, self._splice]
            )
            data = step_of_bytes(data)
            steps.append(step_of_bytes.__name__[1:])
        return Case(data, " ".join(steps))

    def _add(self, attributes: list[Attribute | bytes]) -> None:
        kind = self._chance.choice(
            [*NUMBERS.values(), 0x7FFF, 0x8000, self._chance.randrange(65536)]
        )
        length = self._chance.choice([0, 1, 2, 4, 6, 8, 12, 20, 21, 100])
        value = self._chance.randbytes(length)
        at = self._chance.randrange(len(attributes) + 1)
        attributes.insert(at, (kind, value))

    def _attributes(self) -> list[Attribute | bytes]:
        """
        Return the attributes of a message that somebody might send.
        """
        chance = self._chance
        name = f"{self._victim.usernameFragment}:{self._peer.usernameFragment}"
        attributes: list[Attribute | bytes] = [
            (wire.USERNAME, name.encode()),
            (wire.PRIORITY, struct.pack("!I", chance.randrange(2**32))),
        ]
        role = chance.choice([wire.ICE_CONTROLLED, wire.ICE_CONTROLLING, None])
        if role is not None:
            # The highest number wins a conflict, the lowest is not to move anything.
            attributes.append((role, struct.pack("!Q", chance.choice([0, 2**64 - 1]))))
        if chance.random() < 0.5:
            attributes.append((wire.USE_CANDIDATE, b""))
        if chance.random() < 0.3:
            # Those of browsers: network information and cost, nomination.
            attributes.append((0xC057, chance.randbytes(4)))
        if chance.random() < 0.2:
            attributes.append((wire.SOFTWARE, b"somebody's \xc3\xa4gent"))
        if chance.random() < 0.3:
            attributes.append(
                (wire.XOR_MAPPED_ADDRESS, b"\x00\x01" + chance.randbytes(6))
            )
        if chance.random() < 0.1:
            attributes.append(wire.error_code(chance.randrange(300, 700)))
        return attributes

    def _cut(self, data: bytes) -> bytes:
        return data[: self._chance.randrange(len(data) + 1)]

    def _drop(self, attributes: list[Attribute | bytes]) -> None:
        if attributes:
            attributes.pop(self._chance.randrange(len(attributes)))

    def _duplicate(self, attributes: list[Attribute | bytes]) -> None:
        if attributes:
            chosen = self._chance.choice(attributes)
            count = self._chance.choice([1, 1, 2, 9, 40])
            at = self._chance.randrange(len(attributes) + 1)
            attributes[at:at] = [chosen] * count

    def _encode(self, attributes: list[Attribute | bytes]) -> bytes:
        chance = self._chance
        key = chance.choice([str(self._victim.password), "x" * 24, None])
        after: list[Attribute | bytes] = []
        if chance.random() < 0.1:
            after = [(wire.MESSAGE_INTEGRITY, chance.randbytes(20))] * 9
        if chance.random() < 0.1:
            self._add(after)
        if chance.random() < 0.05:
            after.append((wire.FINGERPRINT, chance.randbytes(4)))
        kind = chance.choice([wire.REQUEST] * 5 + KINDS)
        if chance.random() < 0.05:
            kind = chance.randrange(65536)
        return wire.encode(
            kind,
            attributes,
            transaction=chance.randbytes(12),
            key=key.encode() if key is not None else None,
            after=after,
            fingerprint=chance.random() < 0.7,
        )

    def _extend(self, data: bytes) -> bytes:
        return data + self._chance.randbytes(self._chance.choice([1, 4, 8, 1000]))

    def _flip(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._chance.choice([1, 1, 2, 8])):
            changed[self._chance.randrange(len(changed))] = self._chance.randrange(256)
        return bytes(changed)

    def _head(self, data: bytes) -> bytes:
        """
        Change the header.
        """
        chance = self._chance
        kind, length, cookie = struct.unpack("!HHI", data[:8])
        which = chance.randrange(3)
        if which == 0:
            kind = chance.choice([*KINDS, 0, 0x3EEF, 0x4001, chance.randrange(65536)])
        elif which == 1:
            length += chance.choice([-20, -4, -1, 1, 4, 20, 65535 - length])
        else:
            cookie = chance.choice([0, cookie + 1, chance.randrange(2**32)])
        return struct.pack("!HHI", kind, max(0, length) & 0xFFFF, cookie) + data[8:]

    def _lie(self, attributes: list[Attribute | bytes]) -> None:
        """
        Let an attribute claim another length.
        """
        if attributes:
            at = self._chance.randrange(len(attributes))
            chosen = attributes[at]
            if not isinstance(chosen, bytes):
                lengths = [0, 1, len(chosen[1]) + 1, len(chosen[1]) + 4, 65532, 65535]
                attributes[at] = wire.attribute(*chosen, self._chance.choice(lengths))

    def _resize(self, attributes: list[Attribute | bytes]) -> None:
        """
        Give an attribute another length.
        """
        if attributes:
            at = self._chance.randrange(len(attributes))
            chosen = attributes[at]
            if not isinstance(chosen, bytes):
                kind, value = chosen
                length = self._chance.choice([0, 1, 3, 5, 7, 9, 300, 1400])
                value = (value + self._chance.randbytes(length))[:length]
                attributes[at] = kind, value

    def _shuffle(self, attributes: list[Attribute | bytes]) -> None:
        self._chance.shuffle(attributes)

    def _splice(self, data: bytes) -> bytes:
        """
        Leave out some bytes in the middle, with a header that fits if any can.
        """
        begin = self._chance.randrange(20, len(data) + 1)
        end = min(len(data), begin + self._chance.choice([1, 4, 8, 24]))
        rest = data[20:begin] + data[end:]
        length = min(len(rest), 0xFFFF)
        return data[:2] + length.to_bytes(2, "big") + data[4:20] + rest


def judge(data: bytes) -> str:
    """
    Parse a message, compare what is found with another reading, and return what it was.
    """
    message, reading = parse_message(data), wire.read(data)
    if message is None:
        assert reading is None or not is_sound(reading), "a sound message is refused"
        return "refused"
    assert reading is not None, "a malformed message is accepted"
    kind = message.message_method | message.message_class
    assert kind == reading.kind, "another class or method is read"
    assert message.transaction_id == reading.transaction
    covered = signed_part(reading)
    for name, value in message.attributes.items():
        number = NUMBERS[name]
        found = dict(reversed(covered)).get(number, reading.value(number))
        assert found is not None, f"{name} is not there"
        assert value == value_of(name, found, reading), f"{name} is {value!r}"
    known = set(NUMBERS.values())
    expected = {x for x, _ in covered if x in known} | (
        {wire.FINGERPRINT} & {x for x, _ in reading.attributes}
    )
    assert {NUMBERS[x] for x in message.attributes} == expected
    assert set(message.unknown) == {
        x for x, _ in covered if x not in known and x < 0x8000
    }
    is_signed = reading.is_signed(KEY.encode())
    assert message.check_message_integrity(KEY.encode()) == is_signed
    return "authentic" if is_signed else "accepted"


def is_sound(reading: Reading) -> bool:
    """
    Tell whether a message has nothing about it for which it might be refused.
    """
    method = reading.kind & 0xF | (reading.kind & 0xE0) >> 1
    if reading.kind >> 9 or method not in METHODS:
        return False
    kinds = [x for x, _ in reading.attributes]
    if len(kinds) >= MAX_ATTRIBUTES or len(kinds) != len(set(kinds)):
        return False
    names = {number: name for name, number in NUMBERS.items()}
    try:
        for kind, value in reading.attributes:
            if kind in names:
                value_of(names[kind], value, reading)
    except (ValueError, IndexError):
        return False
    return len(reading.value(wire.USERNAME) or b"") < 509


def signed_part(reading: Reading) -> list[Attribute]:
    """
    Return the attributes up to the first MESSAGE-INTEGRITY, which are those that count
    (RFC 8489 section 14.5).
    """
    kinds = [x for x, _ in reading.attributes]
    if wire.MESSAGE_INTEGRITY not in kinds:
        return list(reading.attributes)
    return list(reading.attributes[: kinds.index(wire.MESSAGE_INTEGRITY) + 1])


def value_of(name: str, value: bytes, reading: Reading) -> object:
    """
    Read the value of an attribute.

    :raises ValueError: if it is malformed.
    """
    lengths = {"MESSAGE-INTEGRITY": 20, "ICE-CONTROLLED": 8, "ICE-CONTROLLING": 8}
    if name in ("MESSAGE-INTEGRITY", "DATA", "NONCE"):
        if len(value) != lengths.get(name, len(value)):
            raise ValueError
        return value
    if name in ("USERNAME", "REALM", "SOFTWARE"):
        return value.decode()
    if name == "USE-CANDIDATE":
        return None
    if name == "ERROR-CODE":
        return value[2] * 100 + value[3], value[4:].decode()
    if name.endswith(("ADDRESS", "ORIGIN")):
        return address_in(value, reading.transaction if name in XORED else None)
    if len(value) != lengths.get(name, 4):
        raise ValueError
    number = int.from_bytes(value, "big")
    return number >> 16 if name == "CHANNEL-NUMBER" else number


def address_in(value: bytes, transaction: bytes | None) -> Address:
    """
    Read a transport address.

    :param transaction: With what it is masked, if it is.
    :raises ValueError: if it is malformed.
    """
    if len(value) != {1: 8, 2: 20}.get(value[1]):
        raise ValueError
    rest = value[2:]
    if transaction is not None:
        mask = struct.pack("!HI", wire.COOKIE >> 16, wire.COOKIE) + transaction
        rest = bytes(a ^ b for a, b in zip(rest, mask, strict=False))
    host = ipaddress.ip_address(rest[2:])
    return str(host), int.from_bytes(rest[:2], "big")


async def deliver(network: Network, count: int, chance: random.Random) -> None:
    """
    Give messages to the sockets of a call: a connected one, and in a restart.
    """
    async with connected_transports(network) as (alice, bob):
        observer = Observer(network)
        selected = [x.getSelectedCandidatePair() for x in (alice, bob)]
        offer = None
        for number in range(count):
            inject(observer, chance, *chance.sample([alice, bob], 2))
            if number % 50 == 0:
                await asyncio.sleep(0.01)
            if number == count // 3:
                offer = await offer_restart(alice)
            if number == 2 * count // 3:
                assert [x.getSelectedCandidatePair() for x in (alice, bob)] == selected
        await asyncio.sleep(0.5)
        assert offer is not None
        await accept_restart(alice, await answer_restart(bob, offer))
        await switched(alice, bob)
        await asyncio.sleep(0.5)
        for transport in (alice, bob):
            # What does not begin as STUN does is the peer's data.
            for _ in range(len(transport._gatherer.inbox)):
                await transport._recv()
        await exchange(alice, bob)


def inject(
    observer: Observer,
    chance: random.Random,
    victim: RTCIceTransport,
    peer: RTCIceTransport,
) -> None:
    """
    Send a message to a transport, which the peer may have signed, from an address of
    the peer or of nobody.
    """
    generation = chance.choice(victim.generations)
    # With the highest priority, or a nomination, an authentic check may well move what
    # is not nominated yet; a peer that is connected may not be moved by it.
    generator = Generator(chance, generation.local, generation.remote or PEER)
    sources: list[Address] = [
        socket_address(active(peer)),
        ("10.0.6.6", chance.randrange(1, 65536)),
    ]
    data = generator.case().data
    observer.inject(data, chance.choice(sources), socket_address(generation))


def run(count: int, seed: int) -> Counter[str]:
    """
    Try messages, and return how many were accepted, authentic and refused.

    :raises AssertionError: if something is wrong with one of them.
    """
    outcomes: Counter[str] = Counter()
    generator = Generator(random.Random(seed))
    for number in range(count):
        case = generator.case()
        try:
            outcomes[judge(case.data)] += 1
        except Exception as exc:
            raise AssertionError(
                f"seed {seed}, message {number} ({case.history}): "
                f"{case.data.hex()}: {exc!r}"
            ) from exc
    for first in range(0, count, BATCH):
        chance = random.Random(f"{seed} {first}")
        try:
            run_on_network(deliver, min(BATCH, count - first), chance)
        except BaseException as exc:
            raise AssertionError(
                f"seed {seed}, call {first // BATCH} of {count}: {exc!r}"
            ) from exc
        outcomes["calls"] += 1
    return outcomes
