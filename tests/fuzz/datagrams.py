"""
Datagrams, those of real calls and mutations of them, for a call in each of its phases.

Whoever sends them, a stranger or somebody in the peer's name: nothing reaches the event
loop's exception handler, the call comes up and goes on, and a restart works.

There is one exception. Before the keys are there, nothing tells a handshake message of
the peer's from a well-formed one that somebody on the path sends in the peer's name
(RFC 6347 has no authentication of single messages). In one call of twenty, such
messages are sent, and that handshake may be lost; how many were is among the outcomes.
"""

import asyncio
import functools
import random
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..hostile import junk, wire
from ..hostile.path import Observer, is_check, is_dtls, is_response, is_srtp
from ..hostile.peer import PARAMETERS, check
from ..hostile.phases import PHASES, Call, generations, walk
from ..network import Address, Network
from ..network import run as run_on_network

PER_PHASE = 100
"How many datagrams are sent in a phase."

BEFORE_THE_KEYS = PHASES[: PHASES.index("connected")]

NOBODY = ("10.0.6.7", 1)
"Where no check comes from, not even one that is sent again."

PER_CALL = PER_PHASE * len(PHASES)


@functools.cache
def captured() -> dict[str, list[bytes]]:
    """
    Return what crosses the network in a call with sound and a restart, by kind.
    """
    kinds: dict[str, Callable[[bytes], bool]] = {
        "check": is_check,
        "response": is_response,
        "handshake": lambda x: is_dtls(x) and x[0] != junk.APPLICATION_DATA,
        "record": lambda x: is_dtls(x) and x[0] == junk.APPLICATION_DATA,
        "SRTP": is_srtp,
    }

    async def record(network: Network) -> list[bytes]:
        observer = Observer(network)

        async def wait(call: Call) -> None:
            await asyncio.sleep(0.1)

        await walk(network, wait, media=True)
        return [x.data for x in observer.seen]

    seen = run_on_network(record)
    found = {kind: [x for x in seen if test(x)] for kind, test in kinds.items()}
    assert all(found.values())
    return found


class Attacker:
    """
    Sends datagrams to the ports of a call.

    :param network: The network of the call.
    :param chance: What decides.
    :param count: How many datagrams there are in all.
    :param forges: Whether there are handshake messages in the peer's name.
    """

    def __init__(
        self, network: Network, chance: random.Random, count: int, forges: bool
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        "How many have been sent, by their kind and by who might have sent them."
        self._chance = chance
        self._forges = forges
        self._left = count
        self._observer = Observer(network)

    async def attack(self, call: Call) -> None:
        """
        Send some datagrams in this phase.
        """
        count = min(self._left, PER_PHASE)
        self._left -= count
        for _ in range(count):
            target, peer = self._chance.choice(call.targets)
            kind, data = self._datagram(call)
            who, source = self._source(peer, call)
            if who == "peer" and self._may_be_handshake(data, call):
                who, source = "stranger", NOBODY
            self._observer.inject(data, source, target)
            self.outcomes[f"{kind}, {who}"] += 1
            if self._chance.random() < 0.02:
                await asyncio.sleep(self._chance.choice([0, 0.001, 0.01]))

    def _datagram(self, call: Call) -> tuple[str, bytes]:
        """
        Return a datagram, and its kind.
        """
        chance = self._chance
        kind = chance.choice([*captured(), "this call's", "forged", "STUN", "noise"])
        if kind in captured():
            data = chance.choice(captured()[kind])
        elif kind == "this call's" and self._observer.seen:
            data = chance.choice(self._observer.seen).data
        elif kind == "forged":
            data = chance.choice(
                [
                    *junk.ALERTS.values(),
                    *junk.RECORDS.values(),
                    *junk.MESSAGES.values(),
                    *(data for data, _ in junk.JUNK.values()),
                ]
            )
        elif kind == "STUN":
            generation = chance.choice(generations(*call.peers))
            data = check(
                generation.local,
                generation.remote or PARAMETERS,
                role=chance.choice([wire.ICE_CONTROLLING, wire.ICE_CONTROLLED]),
                nominates=chance.random() < 0.5,
                password="guess" * 5,
            )
        else:
            return "noise", chance.randbytes(
                chance.choice([0, 1, 3, 13, 100, 1500, 9000])
            )
        if chance.random() < 0.7:
            data = self._mutate(data)
        return kind, data

    def _may_be_handshake(self, data: bytes, call: Call) -> bool:
        """
        Tell whether a datagram may be part of a handshake that is not done.
        """
        return (
            not self._forges
            and call.phase in BEFORE_THE_KEYS
            and data[:1] == bytes([junk.HANDSHAKE])
        )

    def _mutate(self, data: bytes) -> bytes:
        chance = self._chance
        changed = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 5])):
            if not changed:
                break
            at = chance.randrange(len(changed))
            # The headers are at the beginning.
            at = chance.choice([at, at % 13, at % 26])
            step = chance.randrange(6)
            if step == 0:
                changed[at] = chance.randrange(256)
            elif step == 1:
                changed[at] ^= 1 << chance.randrange(8)
            elif step == 2:
                del changed[at:]
            elif step == 3:
                del changed[at : at + chance.choice([1, 2, 4, 8])]
            elif step == 4:
                changed[at:at] = chance.randbytes(chance.choice([1, 2, 4, 100, 2000]))
            elif len(changed) > at + 2:
                # What may be a length.
                struct.pack_into(
                    "!H", changed, at, chance.choice([0, 1, 0x7FFF, 0xFFFF])
                )
        return bytes(changed)

    def _source(self, peer: Address, call: Call) -> tuple[str, Address]:
        """
        Return who sends it: a stranger, the peer from another port, or the peer.
        """
        chance = self._chance
        which = chance.randrange(4)
        if which == 0:
            return "stranger", ("10.0.6.6", chance.randrange(1, 65536))
        if which == 1:
            return "neighbour", (peer[0], chance.randrange(1, 49152))
        if which == 2:
            # Any port of the other side, of whichever generation.
            others = [x for x, _ in call.targets if x[0] == peer[0]]
            return "peer", chance.choice(others or [peer])
        return "peer", peer


def run(count: int, seed: int) -> Counter[str]:
    """
    Try datagrams, and return how many of each kind there were.

    :raises AssertionError: if a call does not survive them.
    """
    outcomes: Counter[str] = Counter()
    # A network of its own must not run within another.
    captured()
    for first in range(0, count, PER_CALL):
        chance = random.Random(f"{seed} {first}")
        wanted = min(PER_CALL, count - first)
        options: dict[str, Any] = {
            "by": chance.choice(["alice", "bob"]),
            "trickle": chance.random() < 0.5,
            "media": chance.random() < 0.5,
        }
        forges = chance.random() < 0.05
        try:
            outcomes += run_on_network(_call, chance, wanted, forges, options)
        except BaseException as exc:
            notes = "; ".join(getattr(exc, "__notes__", []))
            if forges and "not connected" in str(exc) and not notes:
                outcomes["handshakes lost"] += 1
                continue
            raise AssertionError(
                f"seed {seed}, datagrams from {first} on ({options}): {exc!r} {notes}"
            ) from exc
        outcomes["calls"] += 1
    return outcomes


async def _call(
    network: Network,
    chance: random.Random,
    count: int,
    forges: bool,
    options: dict[str, Any],
) -> Counter[str]:
    attacker = Attacker(network, chance, count, forges)
    await walk(network, attacker.attack, **options)
    return attacker.outcomes
