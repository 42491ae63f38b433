"""
One generation a round, one switch a restart, and no way back.
"""

import asyncio

import pytest
from aioice import stun
from aiortc import RTCSessionDescription

from aiortc_restart import RTCPeerConnection
from aiortc_restart.ice.generation import IceGeneration

from .agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    exchange,
    fragment,
    offer_restart,
    pairs_selected,
    restart,
    rtp_like,
    set_tie_breaker,
    socket_address,
    switched,
)
from .calls import answered, ice_transport, offered
from .calls import restart as restart_call
from .network import Network
from .probes import open_prober
from .utils import Pair, connected_pair, negotiate, until


@pytest.fixture
def generations(monkeypatch: pytest.MonkeyPatch) -> list[IceGeneration]:
    """
    The generations of all transports, as they are made.
    """
    made: list[IceGeneration] = []
    initialise = IceGeneration.__init__

    def record(self: IceGeneration, *args: object, **kwargs: object) -> None:
        initialise(self, *args, **kwargs)  # type: ignore[arg-type]
        made.append(self)

    monkeypatch.setattr(IceGeneration, "__init__", record)
    return made


def fragments(pair: Pair) -> list[str]:
    return [
        str(ice_transport(pc).local_parameters.usernameFragment)
        for pc in (pair.offerer, pair.answerer)
    ]


# One generation for each offer and answer, on each side


@pytest.mark.parametrize("by", ["offerer", "answerer", "alternating"])
async def test_one_generation_a_round(
    network: Network, generations: list[IceGeneration], by: str
) -> None:
    """
    A restart makes one generation on each side, and its answer does not make another.
    """
    # RFC 9429 section 5.10
    async with connected_pair(network) as pair:
        assert len(generations) == 2
        seen = [fragments(pair)]
        for number in range(4):
            first, second = pair.offerer, pair.answerer
            if by == "answerer" or (by == "alternating" and number % 2):
                first, second = second, first
            await restart_call(first, second)
            assert len(generations) == 2 * (number + 2)
            seen.append(fragments(pair))
            # A plain negotiation makes none, by either side.
            await negotiate(first, second)
            await negotiate(second, first)
        await asyncio.sleep(60)
        assert len(generations) == 10
        assert len({x for both in seen for x in both}) == 10
        assert fragments(pair) == seen[-1]


async def test_offers_without_effect_make_no_generation(
    network: Network, generations: list[IceGeneration]
) -> None:
    """
    Offers which are made and thrown away begin nothing.
    """
    async with connected_pair(network) as pair:
        for _ in range(10):
            await pair.offerer.createOffer(iceRestart=True)
        await asyncio.sleep(1)
        assert len(generations) == 2
        assert network.sockets("alice") == 1


async def test_restarts_without_an_answer(
    network: Network, generations: list[IceGeneration]
) -> None:
    """
    A hundred restart offers in a row keep two generations, the last of which is used.
    """
    async with connected_pair(network) as pair:
        transports = [ice_transport(pair.offerer), ice_transport(pair.answerer)]
        first = fragments(pair)
        for _ in range(100):
            offer = await offered(pair.offerer, iceRestart=True)
            await pair.answerer.setRemoteDescription(offer)
            assert [len(x.generations) for x in transports] == [2, 2]
            # The sockets of the one before are about to close.
            assert network.sockets("alice") <= 3
            assert network.sockets("bob") == 1
        assert fragments(pair) == first
        await until(lambda: network.sockets("alice") == 2, timeout=0.1)
        assert [x.state for x in transports] == ["completed"] * 2
        await pair.exchange()

        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(*transports)
        await pair.exchange()
        await until(lambda: network.sockets("alice") == network.sockets("bob") == 1)
        # All which were made but the last have gone.
        alive = [x for x in generations if not x.closed]
        assert alive == [current(x) for x in transports]


async def test_restarts_without_an_answer_by_a_peer_which_gathers(
    network: Network,
) -> None:
    """
    Answers which never arrive make no more sockets than offers do.
    """
    async with connected_pair(network) as pair:
        # Both offers and answers are made by hand, so that each is applied here alone.
        answerer = pair.answerer
        for _ in range(20):
            offer = await offered(pair.offerer, iceRestart=True)
            await answered(answerer, offer)
            assert len(ice_transport(answerer).generations) <= 2
            assert network.sockets("bob") <= 3
        await pair.exchange()
        await pair.offerer.setRemoteDescription(answerer.localDescription)
        await switched(ice_transport(pair.offerer), ice_transport(answerer))
        await pair.exchange()
        await until(lambda: network.sockets("bob") == network.sockets("alice") == 1)


# One switch for each restart


@pytest.mark.parametrize("addresses", [1, 3])
@pytest.mark.parametrize("delay", [0, 0.05, 0.2])
async def test_one_switch_a_restart(
    network: Network, addresses: int, delay: float
) -> None:
    """
    The selected pair changes once in a restart, on either side, in whichever role.
    """
    for name, prefix in (("alice", "10.0.1."), ("bob", "10.0.2.")):
        network.readdress(name, *(f"{prefix}{x + 1}" for x in range(addresses)))
    async with connected_pair(network) as pair:
        # A longer round trip is one more chance for several pairs to be checked.
        network.delay(delay)
        peers = [pair.offerer, pair.answerer]
        for number in range(2):
            selected = [pairs_selected(ice_transport(pc)) for pc in peers]
            await restart_call(peers[number], peers[1 - number])
            await asyncio.sleep(10)
            assert [len(x) for x in selected] == [1, 1]
            ours, theirs = (ice_transport(x).getSelectedCandidatePair() for x in peers)
            assert ours is not None
            assert theirs is not None
            assert (ours.local.port, ours.remote.port) == (
                theirs.remote.port,
                theirs.local.port,
            )
            assert [x[0] for x in selected] == [ours, theirs]
            await pair.exchange()


@pytest.mark.parametrize("by", [0, 1])
@pytest.mark.parametrize("seconds", [None, 0.02, 0.1, 0.3])
async def test_one_switch_a_restart_where_the_best_pair_is_bad(
    network: Network, seconds: float | None, by: int
) -> None:
    """
    So it does where the pairs of the best address are slow, or do not work at all.
    """
    network.readdress("alice", "10.0.1.1", "10.0.1.2")
    async with connected_pair(network) as pair:
        peers = [pair.offerer, pair.answerer]
        network.delay(0.01)
        if seconds is None:
            network.cut("10.0.1.1")
        else:
            network.delay(seconds, "10.0.1.1")
        selected = [pairs_selected(ice_transport(pc)) for pc in peers]
        await restart_call(peers[by], peers[1 - by])
        await asyncio.sleep(10)
        assert [len(x) for x in selected] == [1, 1]
        ours, theirs = (x[0] for x in selected)
        assert ours.local.port == theirs.remote.port
        assert ours.remote.port == theirs.local.port
        await pair.exchange()


async def test_one_selection_of_the_first_connection(network: Network) -> None:
    """
    The first connection selects its pair once, too.
    """
    selected = []

    def listen(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
        selected.append(pairs_selected(ice_transport(offerer)))

    async with connected_pair(network, prepare=listen):
        await asyncio.sleep(10)
    assert [len(x) for x in selected] == [1]


@pytest.mark.parametrize("after", [0.1, 2.5])
async def test_nomination_of_an_old_pair(network: Network, after: float) -> None:
    """
    A pair of the old generation which is nominated late is not switched to.
    """
    async with connected_transports(network) as (alice, bob):
        old, peer = active(bob), active(alice)
        prober = await open_prober(network, "alice", str(peer.local.password))
        await restart(alice, bob)
        selected = pairs_selected(bob)
        pair = bob.getSelectedCandidatePair()
        await asyncio.sleep(after)
        await prober.check(
            socket_address(old),
            f"{fragment(old)}:{fragment(peer)}",
            str(old.local.password),
            ICE_CONTROLLING=1,
            USE_CANDIDATE=None,
        )
        # The old generation takes it for what it is.
        await until(
            lambda: (
                old.connection.selected_pair is not None
                and old.connection.selected_pair.remote_addr == prober.address
            )
        )
        await asyncio.sleep(5)
        assert bob.getSelectedCandidatePair() == pair
        assert bob._connection is current(bob).connection
        assert selected == []
        await exchange(alice, bob)
        prober.close()


async def test_nomination_of_an_old_pair_during_a_restart(network: Network) -> None:
    """
    Until the switch the peer may nominate on the old generation, which does not hinder
    the restart.
    """
    async with connected_transports(network) as (alice, bob):
        old, peer = active(bob), active(alice)
        prober = await open_prober(network, "alice", str(peer.local.password))
        answer = await answer_restart(bob, await offer_restart(alice))
        selected = pairs_selected(bob)
        await prober.check(
            socket_address(old),
            f"{fragment(old)}:{fragment(peer)}",
            str(old.local.password),
            ICE_CONTROLLING=1,
            USE_CANDIDATE=None,
        )
        await until(lambda: len(selected) == 1)
        assert (selected[0].remote.ip, selected[0].remote.port) == prober.address
        assert selected[0].local.usernameFragment == fragment(old)
        await accept_restart(alice, answer)
        await switched(alice, bob)
        await asyncio.sleep(5)
        assert len(selected) == 2
        assert selected[1].local.usernameFragment == fragment(current(bob))
        await exchange(alice, bob)
        prober.close()


# RFC 8445 section 8.1.1
async def test_controlled_agent_follows_its_peer(network: Network) -> None:
    """
    Within the current generation the peer, if it is in control, may change the pair.
    """
    async with connected_transports(network) as (alice, bob):
        await restart(alice, bob)
        selected = pairs_selected(bob)
        generation, peer = current(bob), current(alice)
        prober = await open_prober(network, "alice", str(peer.local.password))
        await prober.check(
            socket_address(generation),
            f"{fragment(generation)}:{fragment(peer)}",
            str(generation.local.password),
            ICE_CONTROLLING=1,
            USE_CANDIDATE=None,
        )
        await until(lambda: len(selected) == 1)
        await bob._send(rtp_like("data"))
        assert network.log[-1].destination == prober.address
        assert [x.message_class for x in prober.responses] == [stun.Class.RESPONSE]
        # Its data is none of what a prober understands.
        network.filter = lambda datagram: datagram.data != rtp_like("data")
        prober.close()


async def test_controlling_agent_keeps_its_pair(network: Network) -> None:
    """
    Who is in control selects no second pair in a generation, whatever is checked.
    """
    async with connected_transports(network) as (alice, bob):
        set_tie_breaker(alice, 2**64 - 1)
        await restart(alice, bob)
        selected = pairs_selected(alice)
        generation, peer = current(alice), current(bob)
        prober = await open_prober(network, "bob", str(peer.local.password))
        await prober.check(
            socket_address(generation),
            f"{fragment(generation)}:{fragment(peer)}",
            str(generation.local.password),
            ICE_CONTROLLED=1,
        )
        # It is checked in turn, and works.
        await until(lambda: len(prober.requests) == 1)
        await asyncio.sleep(10)
        assert selected == []
        await exchange(alice, bob)
        prober.close()


async def test_description_without_change_restarts_nothing(
    network: Network, generations: list[IceGeneration]
) -> None:
    """
    The offer of the last restart, when it is set once more, begins no other.
    """
    async with connected_pair(network) as pair:
        await restart_call(pair.offerer, pair.answerer)
        offer = pair.offerer.localDescription
        await answered(pair.answerer, RTCSessionDescription(offer.sdp, "offer"))
        assert len(generations) == 4
        await asyncio.sleep(5)
        assert network.sockets("alice") == network.sockets("bob") == 1
        await pair.exchange()
