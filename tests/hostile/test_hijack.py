"""
No path is hijacked: not by somebody off the path who knows a username fragment, nor by
somebody on the path who sends again what has crossed it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from ..agents import set_tie_breaker, socket_address
from ..calls import (
    RETIREMENT,
    answered,
    ice_transport,
    offered,
    restart,
    switched,
)
from ..media import Packets
from ..network import Address, Network
from ..utils import Pair, connected_pair, until
from . import wire
from .path import Observer, is_check, is_dtls, is_response, is_srtp
from .peer import PARAMETERS, agree, agree_with, check, open_peers
from .phases import (
    LATENCY,
    Call,
    generations,
    packets_received,
    unmoved,
    walk,
)

ELSEWHERE = ("10.0.6.6", 6666)

ROLES = {"alice": "controlling", "bob": "controlled"}
"The roles of a call that alice has offered."

STAGES = ["connected", "restart offered", "restart answered", "switched", "retired"]


class Messages:
    """
    Numbered messages each way, and a record of those which have come.
    """

    def __init__(self, pair: Pair) -> None:
        self.received: dict[str, list[str]] = {"forth": [], "back": []}
        self.sent = 0
        self._pair = pair
        pair.remote_channel.on("message", self.received["forth"].append)
        pair.channel.on("message", self.received["back"].append)

    def send(self, count: int = 5) -> None:
        for _ in range(count):
            self._pair.channel.send(str(self.sent))
            self._pair.remote_channel.send(str(self.sent))
            self.sent += 1

    async def settle(self) -> None:
        """
        Assert that each message has come once, in its order.
        """
        expected = [str(x) for x in range(self.sent)]
        await until(lambda: min(map(len, self.received.values())) >= self.sent)
        await asyncio.sleep(0.2)
        assert self.received == {"forth": expected, "back": expected}


@asynccontextmanager
async def recorded_call(
    network: Network, media: bool = True
) -> AsyncIterator[tuple[Pair, Observer, Messages]]:
    """
    Connect a call with sound, all of which somebody on the path has seen.
    """
    observer = Observer(network)
    network.delay(LATENCY)
    tracks = [Packets(), Packets()] if media else []

    def prepare(*pcs: RTCPeerConnection) -> None:
        for pc, track in zip(pcs, tracks, strict=False):
            pc.addTrack(track)

    async with connected_pair(network, prepare=prepare) as pair:
        messages = Messages(pair)
        messages.send()
        await messages.settle()
        yield pair, observer, messages
        for track in tracks:
            track.stop()


async def advance(pair: Pair, stage: str, by: str) -> None:
    """
    Bring a connected call to a stage of a restart.

    :param by: Who offers the restart.
    """
    offerer, answerer = pair.offerer, pair.answerer
    if by == "bob":
        offerer, answerer = answerer, offerer
    if stage == "connected":
        return
    offer = await offered(offerer, iceRestart=True)
    if stage == "restart offered":
        return
    answer = await answered(answerer, offer)
    if stage == "restart answered":
        return
    await offerer.setRemoteDescription(answer)
    await switched(offerer, answerer)
    if stage == "retired":
        await asyncio.sleep(RETIREMENT)


async def finish(pair: Pair, stage: str, by: str) -> None:
    """
    Bring a restart to its end, and assert that another one works.
    """
    offerer, answerer = pair.offerer, pair.answerer
    if by == "bob":
        offerer, answerer = answerer, offerer
    if stage == "restart offered":
        await answered(answerer, offerer.localDescription)
    if stage in ("restart offered", "restart answered"):
        await offerer.setRemoteDescription(answerer.localDescription)
        await switched(offerer, answerer)
    await restart(answerer, offerer)
    await pair.exchange()


# Off the path


@pytest.mark.parametrize("by", ["alice", "bob"])
@pytest.mark.parametrize("stage", STAGES)
async def test_fragment_without_password(network: Network, stage: str, by: str) -> None:
    """
    Somebody off the path who knows both username fragments, and no password, moves
    nothing: neither with checks and nominations of any role, nor with answers, nor with
    data.
    """
    async with recorded_call(network) as (pair, _, messages):
        both = pair.offerer, pair.answerer
        await advance(pair, stage, by)
        async with (
            open_peers(3, network, answer=agree_with(b"guess" * 5)) as strangers,
            unmoved(*both),
        ):
            for pc in both:
                for generation in ice_transport(pc).generations:
                    local = generation.remote or PARAMETERS
                    for stranger in strangers:
                        stranger.remote = generation.local
                        stranger.local = local
                        for role in (wire.ICE_CONTROLLING, wire.ICE_CONTROLLED, None):
                            for tie_breaker in (0, 2**64 - 1):
                                data = check(
                                    generation.local,
                                    local,
                                    role=role,
                                    nominates=True,
                                    password="guess" * 5,
                                    tie_breaker=tie_breaker,
                                )
                                stranger.send(data, socket_address(generation))
                        stranger.send(
                            wire.encode(wire.SUCCESS, key=b"guess" * 5),
                            socket_address(generation),
                        )
                        stranger.send(b"\x80" + bytes(100), socket_address(generation))
            messages.send()
            await asyncio.sleep(1)
            assert all(x.requests == [] for x in strangers)
        assert [ice_transport(x).role for x in both] == list(ROLES.values())
        await messages.settle()
        await finish(pair, stage, by)


@pytest.mark.parametrize("trickle", [False, True])
async def test_fragment_without_password_at_first(
    network: Network, trickle: bool
) -> None:
    """
    Nor does it while a call connects: it connects to the peer.
    """
    async with open_peers(2, network, answer=agree_with(b"guess" * 5)) as strangers:

        async def attack(call: Call) -> None:
            for generation in generations(*call.peers):
                for target, _ in call.targets:
                    for stranger in strangers:
                        data = check(
                            generation.local,
                            generation.remote or PARAMETERS,
                            nominates=True,
                            password="guess" * 5,
                            tie_breaker=2**64 - 1,
                        )
                        stranger.send(data, target)
                        stranger.send(b"\x80" + bytes(100), target)
            if call.phase in ("connected", "switched"):
                for pc in call.peers:
                    selected = ice_transport(pc).getSelectedCandidatePair()
                    assert selected is not None
                    assert selected.remote.ip != strangers[0].address[0]

        await walk(network, attack, trickle=trickle)
        assert all(x.requests == [] for x in strangers)


@pytest.mark.parametrize("by", ["alice", "bob"])
async def test_password_of_another_generation(network: Network, by: str) -> None:
    """
    The password of the old generation moves nothing in the new one, and the other way
    round.
    """
    async with recorded_call(network) as (pair, _, messages):
        both = pair.offerer, pair.answerer
        await advance(pair, "switched", by)
        async with open_peers(1, network) as (stranger,), unmoved(*both):
            for pc in both:
                generations = ice_transport(pc).generations
                assert len(generations) == 2
                for generation, other in (generations, generations[::-1]):
                    assert generation.remote is not None
                    data = check(
                        generation.local,
                        generation.remote,
                        nominates=True,
                        password=str(other.local.password),
                    )
                    stranger.send(data, socket_address(generation))
            messages.send()
            await asyncio.sleep(1)
            assert stranger.requests == []
        await messages.settle()


# On the path


@pytest.mark.parametrize("by", ["alice", "bob"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("source", ["its own", "another port", "another host"])
async def test_replay(network: Network, source: str, stage: str, by: str) -> None:
    """
    Somebody on the path who sends again all checks, answers and records which have
    crossed it, from their own source or another, to their own socket or the latest,
    moves nothing, and each message has come once.
    """
    async with recorded_call(network) as (pair, observer, messages):
        both = pair.offerer, pair.answerer
        await advance(pair, stage, by)
        messages.send()
        await messages.settle()
        latest = {
            network.addresses(name)[0]: socket_address(
                ice_transport(pc).generations[-1]
            )
            for name, pc in (("alice", pair.offerer), ("bob", pair.answerer))
        }
        async with unmoved(*both):
            for kinds in ((is_check,), (is_response,), (is_dtls, is_srtp)):
                # What answers a replay is not what has crossed the path.
                seen = [x for x in observer.of(*kinds) if x.destination[0] in latest]
                assert seen
                for datagram in seen:
                    sources: dict[str, Address] = {
                        "its own": datagram.source,
                        "another port": (datagram.source[0], 6667),
                        "another host": ELSEWHERE,
                    }
                    observer.replay([datagram], source=sources[source])
                    observer.replay(
                        [datagram],
                        source=sources[source],
                        destination=latest[datagram.destination[0]],
                    )
                messages.send()
                await asyncio.sleep(2)
        await messages.settle()
        assert [ice_transport(x).role for x in both] == list(ROLES.values())
        await finish(pair, stage, by)


@pytest.mark.parametrize("source", ["its own", "another host"])
async def test_replay_while_it_crosses(network: Network, source: str) -> None:
    """
    Nor does somebody who sends each datagram twice at once, from the first check on and
    over a restart.
    """
    observer = Observer(network)
    received: list[object] = []

    def copy(datagram: object) -> None:
        seen = observer.seen[-1] if observer.seen else None
        if seen is not None and seen is datagram:
            observer.replay([seen], source=None if source == "its own" else ELSEWHERE)

    network.tap(copy)

    async def attack(call: Call) -> None:
        if call.phase == "connected":
            assert call.remote_channel is not None
            call.remote_channel.on("message", received.append)
            for number in range(5):
                call.channel.send(str(number))
        if call.phase in ("connected", "switched"):
            for pc in call.peers:
                selected = ice_transport(pc).getSelectedCandidatePair()
                assert selected is not None
                assert selected.remote.ip != ELSEWHERE[0]

    await walk(network, attack, media=True)
    assert received[:5] == [str(x) for x in range(5)]
    assert len(received) == len(set(map(str, received)))


async def test_replay_of_another_call(network: Network) -> None:
    """
    What has crossed the path in another call means nothing in this one, though the
    ports are the same.
    """
    observer = Observer(network)
    async with connected_pair(network) as pair:
        await pair.exchange()
    old = observer.seen[:]

    async def attack(call: Call) -> None:
        for target, peer in call.targets:
            for datagram in old:
                observer.replay([datagram], source=peer, destination=target)

    await walk(network, attack)


@pytest.mark.parametrize("kind", ["message", "sound"])
async def test_records_once(network: Network, kind: str) -> None:
    """
    A record that comes ten times is read once: of DTLS, and of SRTP.
    """
    async with recorded_call(network) as (pair, observer, messages):
        before = len(observer.seen)
        messages.send()
        await messages.settle()
        pc = pair.answerer
        network.filter = lambda _: observer._sending
        await asyncio.sleep(0.2)
        taken = packets_received(pc)
        is_of_kind = is_dtls if kind == "message" else is_srtp
        records = [
            x
            for x in observer.seen[before:]
            if is_of_kind(x.data) and x.fate == "delivered"
        ]
        assert records
        for _ in range(10):
            observer.replay(records)
        await asyncio.sleep(0.2)
        assert packets_received(pc) == taken
        network.filter = None
        await messages.settle()
        await pair.exchange()


@pytest.mark.parametrize("role", list(ROLES))
async def test_replayed_check_is_not_answered_by_us_alone(
    network: Network, role: str
) -> None:
    """
    A nomination that is sent again from an address of the attacker's, who answers our
    check as well as he can, selects no pair.
    """
    async with recorded_call(network, media=False) as (pair, observer, messages):
        both = pair.offerer, pair.answerer
        pc = both[list(ROLES).index(role)]
        async with open_peers(1, network) as (attacker,), unmoved(*both):
            answers = observer.of(is_response)
            attacker.answer = lambda peer, request, source: wire.encode(
                wire.SUCCESS,
                wire.read(answers[-1].data).attributes[:-2],  # type: ignore[union-attr]
                transaction=request.transaction,
                key=b"guess" * 5,
            )
            ours = socket_address(ice_transport(pc).generations[-1])
            checks = [x for x in observer.of(is_check) if x.destination == ours]
            assert checks
            for datagram in checks:
                attacker.send(datagram.data, ours)
                for answer in answers:
                    attacker.send(answer.data, ours)
            await asyncio.sleep(10)
        await messages.settle()


@pytest.mark.parametrize("higher", ["alice", "bob"])
async def test_role_cannot_be_taken(network: Network, higher: str) -> None:
    """
    Checks which are sent again after the peers have exchanged their roles do not give
    them back, whoever has the higher tie-breaker.
    """
    async with connected_pair(network) as pair:
        both = pair.offerer, pair.answerer
        transports = [ice_transport(x) for x in both]
        for transport, name in zip(transports, ROLES, strict=True):
            set_tie_breaker(transport, 2**63 if name == higher else 1)
        observer = Observer(network)
        await restart(*both)
        early = observer.of(is_check)
        for transport in transports:
            for generation in transport.generations:
                connection = generation.connection
                connection.ice_controlling = not connection.ice_controlling
        await asyncio.sleep(12)
        async with unmoved(*both):
            roles = [x.role for x in transports]
            assert roles == ["controlled", "controlling"]
            for _ in range(20):
                observer.replay(early)
                await asyncio.sleep(0.05)
                assert [x.role for x in transports] == roles
            await asyncio.sleep(12)
        await pair.exchange()
        await restart(*both)
        await pair.exchange()


# Roles


@pytest.mark.parametrize("by", ["alice", "bob"])
async def test_both_roles_on_loopback(by: str) -> None:
    """
    On real sockets, too: a stranger with the fragments only is not asked anything, and
    the call restarts.
    """
    async with (
        connected_pair(configuration=RTCConfiguration(iceServers=[])) as pair,
        open_peers(4, answer=agree) as strangers,
    ):
        both = pair.offerer, pair.answerer
        async with unmoved(*both):
            for pc in both:
                for generation in ice_transport(pc).generations:
                    for candidate in generation.connection.local_candidates:
                        if ":" in candidate.host:
                            continue
                        for stranger in strangers:
                            stranger.remote = generation.local
                            stranger.local = generation.remote or PARAMETERS
                            stranger.check(
                                (candidate.host, candidate.port),
                                password="guess" * 5,
                                nominates=True,
                            )
            await asyncio.sleep(0.5)
            await pair.exchange()
            assert all(x.requests == [] for x in strangers)
        await restart(*(both if by == "alice" else both[::-1]))
        await pair.exchange()
