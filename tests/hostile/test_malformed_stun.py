"""
STUN messages that are malformed, that lack something or have too much: the parser says
no, nothing is raised, and nothing is done that only the peer may ask for.
"""

import asyncio
import struct

import pytest

from aiortc_restart import RTCIceTransportPolicy

from ..agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    exchange,
    make_transport,
    offer_restart,
    socket_address,
    switched,
)
from ..calls import ice_transport
from ..found import asking, trickle
from ..network import Address, Network
from ..turn import turn_server
from ..utils import connected_pair, until
from . import wire
from .junk import noise
from .malformed import malformed
from .path import Observer
from .peer import (
    PARAMETERS,
    Peer,
    agree,
    agree_from,
    agree_with,
    open_peers,
)
from .phases import Call, generations, sockets, walk
from .wire import Reading

SERVER = ("10.0.8.1", 3478)

NAMES = list(malformed(PARAMETERS))


async def test_malformed_check_in_each_phase(network: Network) -> None:
    """
    Malformed checks, signed by the peer, hold nothing up, from whomever they come and
    in whichever phase of a call.
    """
    observer = Observer(network)

    async def attack(call: Call) -> None:
        for generation in generations(*call.peers):
            remote = generation.remote or PARAMETERS
            for data in malformed(generation.local, remote).values():
                for target, peer in call.targets:
                    for source in (peer, ("10.0.6.6", 6666)):
                        observer.inject(data, source, target)

    await walk(network, attack)


@pytest.mark.parametrize("name", NAMES)
async def test_malformed_check(network: Network, name: str) -> None:
    """
    A malformed check, which but for that is authentic, moves nothing.
    """
    async with connected_transports(network) as (alice, bob):
        for transport, other in ((alice, bob), (bob, alice)):
            local = other.local_parameters
            data = malformed(transport.local_parameters, local)[name]
            remotes = len(transport.getRemoteCandidates())
            async with open_peers(1, network) as (stranger,):
                stranger.send(data, socket_address(active(transport)))
                await asyncio.sleep(0.2)
                # Neither believed nor asked back.
                assert [x.kind for x in stranger.responses if not x.error] == []
                assert stranger.requests == []
            assert len(transport.getRemoteCandidates()) == remotes
        await exchange(alice, bob)


@pytest.mark.parametrize("signed", ["first", "last", "nowhere"])
async def test_signatures(network: Network, signed: str) -> None:
    """
    Of ten MESSAGE-INTEGRITYs only the first counts, as what follows it is not covered.
    """
    # RFC 8489 section 14.5
    async with connected_transports(network) as (alice, bob):
        async with open_peers(1, network, local=bob.local_parameters) as (peer,):
            peer.remote = alice.local_parameters
            wrong = [(wire.MESSAGE_INTEGRITY, bytes(20))] * 9
            target = socket_address(active(alice))
            if signed == "first":
                peer.check(target, after=wrong)
            elif signed == "last":
                peer.check(target, more=wrong)
            else:
                peer.check(target, more=wrong, password="x" * 24)
            await asyncio.sleep(0.2)
            answers = [x.kind for x in peer.responses]
            if signed == "first":
                assert answers == [wire.SUCCESS]
            else:
                assert wire.SUCCESS not in answers
                assert peer.requests == []


async def test_unknown_attributes(network: Network) -> None:
    """
    An authentic check with attributes that are to be understood and are not is answered
    with 420, which names them.
    """
    # RFC 8489 section 6.3.1
    async with connected_transports(network) as (alice, bob):
        async with open_peers(1, network, local=bob.local_parameters) as (peer,):
            peer.remote = alice.local_parameters
            target = socket_address(active(alice))
            peer.check(target, more=[(0x7ABC, b"x"), (0x7ABD, b""), (0xFABC, b"y")])
            await until(lambda: peer.responses)
            (response,) = peer.responses
            assert response.error == 420
            assert response.is_signed(str(alice.local_parameters.password).encode())
            assert response.value(wire.UNKNOWN_ATTRIBUTES) == b"\x7a\xbc\x7a\xbd"
            await asyncio.sleep(1)
            assert peer.requests == []
            # What need not be understood is passed over.
            peer.check(target, more=[(0xFABC, b"y")])
            await until(lambda: len(peer.responses) == 2)
            assert peer.responses[1].kind == wire.SUCCESS
        await exchange(alice, bob)


async def test_unknown_attributes_of_a_stranger(network: Network) -> None:
    """
    If the check is not authentic, nothing is said about its attributes.
    """
    async with connected_transports(network) as (alice, bob):
        async with open_peers(1, network, local=bob.local_parameters) as (stranger,):
            stranger.remote = alice.local_parameters
            target = socket_address(active(alice))
            for options in ({"password": "x" * 24}, {"omit": [wire.USERNAME]}):
                stranger.check(target, more=[(0x7ABC, b"")], **options)
            await asyncio.sleep(0.2)
            assert stranger.responses == []
            assert stranger.requests == []


async def test_unknown_attributes_in_an_answer(network: Network) -> None:
    """
    An answer with attributes that are to be understood and are not is discarded.
    """
    # RFC 8489 section 6.3.3
    alice = make_transport(network, "alice")
    await alice.iceGatherer.gather()

    def answer(peer: Peer, request: Reading, source: Address) -> bytes:
        return wire.encode(
            wire.SUCCESS,
            [
                (0x7ABC, b""),
                (
                    wire.XOR_MAPPED_ADDRESS,
                    wire.xor_address(*source, request.transaction),
                ),
            ],
            transaction=request.transaction,
            key=peer.key,
        )

    async with open_peers(1, network, answer=answer) as (peer,):
        await alice.addRemoteCandidate(peer.candidate)
        starting = asyncio.create_task(alice.start(PARAMETERS))
        await asyncio.sleep(5)
        assert peer.requests
        assert alice.state == "checking"
        peer.answer = agree
        await until(lambda: alice.state in ("connected", "completed"))
        await alice.stop()
        await starting


@pytest.mark.parametrize("omitted", [(wire.PRIORITY,), (wire.ICE_CONTROLLED,)])
async def test_check_without(network: Network, omitted: tuple[int, ...]) -> None:
    """
    An authentic check which lacks an attribute ends nothing, and does not move the
    path.
    """
    async with connected_transports(network) as (alice, bob):
        selected = alice.getSelectedCandidatePair()
        async with open_peers(1, network, local=bob.local_parameters) as (peer,):
            peer.remote = alice.local_parameters
            for nominates in (False, True):
                target = socket_address(active(alice))
                peer.check(target, omit=omitted, nominates=nominates, role=None)
            await asyncio.sleep(1)
        assert alice.getSelectedCandidatePair() == selected
        await exchange(alice, bob)


async def test_check_without_username(network: Network) -> None:
    """
    A check without USERNAME, or with another one, is no check, whatever it is signed
    with; an error says so, a few times a second.
    """
    # RFC 8489 section 9.1.3
    async with connected_transports(network) as (alice, bob):
        target = socket_address(active(alice))
        async with open_peers(1, network, local=bob.local_parameters) as (peer,):
            peer.remote = alice.local_parameters
            for _ in range(100):
                peer.check(target, omit=[wire.USERNAME])
                peer.check(target, omit=[wire.USERNAME], more=[(wire.USERNAME, b"x:y")])
                peer.check(
                    target, omit=[wire.USERNAME], more=[(wire.USERNAME, b"\xff")]
                )
            await asyncio.sleep(0.5)
            assert {x.error for x in peer.responses} <= {400, 401}
            assert 0 < len(peer.responses) <= 10
            assert peer.requests == []
            await asyncio.sleep(1)
            peer.check(target, omit=[wire.USERNAME])
            await until(lambda: peer.responses[-1].error == 400)
        await exchange(alice, bob)


# Answers


async def test_answer_from_another_address(network: Network) -> None:
    """
    An answer is believed only from where the check was sent to, though the peer has
    signed it.
    """
    # RFC 8489 section 6.3.3, RFC 8445 section 7.2.5.2.1
    alice = make_transport(network, "alice")
    await alice.iceGatherer.gather()
    async with open_peers(2, network, answer=agree) as (peer, other):
        peer.answer = agree_from(other)
        await alice.addRemoteCandidate(peer.candidate)
        starting = asyncio.create_task(alice.start(PARAMETERS))
        await asyncio.sleep(5)
        assert len(peer.requests) > 1
        assert alice.state == "checking"
        assert alice.getSelectedCandidatePair() is None
        peer.answer = agree
        await until(lambda: alice.state in ("connected", "completed"))
        pair = alice.getSelectedCandidatePair()
        assert pair is not None
        assert (pair.remote.ip, pair.remote.port) == peer.address
        await alice.stop()
        await starting


@pytest.mark.parametrize(
    "what", ["unsigned", "wrong key", "unsigned error", "no address"]
)
async def test_answer_which_is_not_the_peers(network: Network, what: str) -> None:
    """
    An answer that the peer has not signed is discarded, and the right one, which comes
    later, counts.
    """
    alice = make_transport(network, "alice")
    await alice.iceGatherer.gather()

    def forge(peer: Peer, request: Reading, source: Address) -> bytes:
        if what == "wrong key":
            return agree_with(b"x" * 24)(peer, request, source) or b""
        return wire.encode(
            wire.ERROR if what == "unsigned error" else wire.SUCCESS,
            [wire.error_code(400)] if what == "unsigned error" else [],
            transaction=request.transaction,
            key=peer.key if what == "no address" else None,
        )

    async with open_peers(1, network) as (peer,):

        def answer(peer: Peer, request: Reading, source: Address) -> bytes | None:
            peer.send(forge(peer, request, source), source)
            return agree(peer, request, source) if what != "no address" else None

        peer.answer = answer
        await alice.addRemoteCandidate(peer.candidate)
        starting = asyncio.create_task(alice.start(PARAMETERS))
        if what == "no address":
            await asyncio.sleep(1)
        else:
            await until(lambda: alice.state in ("connected", "completed"), timeout=1)
        await alice.stop()
        await starting


async def test_malformed_during_a_restart(network: Network) -> None:
    """
    Malformed checks of the new generation and the old do not keep a restart from its
    end.
    """
    async with connected_transports(network) as (alice, bob):
        observer = Observer(network)

        def attack() -> None:
            for transport in (alice, bob):
                for generation in transport.generations:
                    target = socket_address(generation)
                    remote = generation.remote or PARAMETERS
                    for data in malformed(generation.local, remote).values():
                        observer.inject(data, ("10.0.6.6", 1), target)
                        for other in (alice, bob):
                            if other is not transport:
                                source = socket_address(active(other))
                                observer.inject(data, source, target)

        offer = await offer_restart(alice)
        attack()
        answer = await answer_restart(bob, offer)
        attack()
        await accept_restart(alice, answer)
        attack()
        await switched(alice, bob)
        attack()
        await asyncio.sleep(0.1)
        assert current(alice) is active(alice)
        for transport in (alice, bob):
            for _ in range(len(transport._gatherer.inbox)):
                await transport._recv()
        await exchange(alice, bob)


# Servers


async def test_malformed_in_the_name_of_a_turn_server(network: Network) -> None:
    """
    What is malformed and comes from a TURN server's address holds up no call over the
    relay: STUN messages, data of channels, and noise.
    """
    server = await turn_server(network, 0.0)
    observer = Observer(network)
    configuration = asking(
        f"turn:{SERVER[0]}", iceTransportPolicy=RTCIceTransportPolicy.RELAY
    )
    channels = [
        b"\x40",
        b"\x40\x00\x00",
        b"\x40\x00\xff\xff",
        b"\x40\x00\x00\x00",
        b"\x40\x00\x00\x04\x00\x01\x00\x00",
        b"\x7f\xff\x00\x01\x80",
    ]

    def attack() -> None:
        for port in sockets(network, "alice"):
            for data in [*malformed(PARAMETERS).values(), *channels, *noise(30)]:
                observer.inject(data, SERVER, port)
                for kind in (wire.SUCCESS, wire.ERROR, 0x0017):
                    observer.inject(struct.pack("!H", kind) + data[2:], SERVER, port)

    async with connected_pair(
        network,
        configuration=configuration,
        answerer_configuration=asking(),
        prepare=trickle,
    ) as pair:
        await pair.exchange()
        attack()
        await asyncio.sleep(0.1)
        await pair.exchange()
        selected = ice_transport(pair.offerer).getSelectedCandidatePair()
        assert selected is not None
        assert selected.local.type == "relay"
    server.close()
