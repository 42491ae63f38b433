"""
The histories of states: of transports, and of connections with them.
"""

import asyncio

import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection
from aiortc_restart.ice import create_credentials

from .agents import (
    add_candidates,
    connected_transports,
    described,
    exchange,
    make_transport,
    offer_restart,
    restart,
    states_of,
)
from .calls import answered, ice_transport, offered
from .calls import restart as restart_call
from .network import Network
from .utils import History, connected_pair, negotiate, states, until

# States (DESIGN.md, D8; webrtc-pc #dom-rtcicetransportstate)


async def test_states(network: Network) -> None:
    """
    new, checking, completed; a restart goes to connected, and back to completed.
    """
    alice = make_transport(network, "alice")
    bob = make_transport(network, "bob")
    histories = [states_of(alice), states_of(bob)]
    for transport in (alice, bob):
        await transport.iceGatherer.gather()
    await add_candidates(alice, described(bob))
    await add_candidates(bob, described(alice))
    await asyncio.gather(
        alice.start(bob.local_parameters), bob.start(alice.local_parameters)
    )
    assert histories == [["new", "checking", "completed"]] * 2
    await restart(bob, alice)
    expected = ["new", "checking", "completed", "connected", "completed"]
    assert histories == [expected] * 2
    network.cut()
    await until(lambda: alice.state == bob.state == "failed", timeout=40)
    network.heal()
    await restart(alice, bob)
    expected += ["disconnected", "failed", "checking", "completed"]
    assert histories == [expected] * 2
    await asyncio.gather(alice.stop(), bob.stop())
    assert histories == [[*expected, "closed"]] * 2


async def test_states_until_the_answer(network: Network) -> None:
    """
    Until a restart has been answered the state is what it was.
    """
    async with connected_transports(network) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        offer = await offer_restart(alice)
        bob.propose(create_credentials(), offer.parameters)
        await bob.iceGatherer.gather()
        assert histories == [["completed"]] * 2
        bob.withdraw()
        alice.withdraw()
        await asyncio.sleep(60)
        assert histories == [["completed"]] * 2
        await exchange(alice, bob)


async def test_states_of_a_call(network: Network) -> None:
    """
    A connection's states follow its transport's.
    """
    histories: list[History] = []

    def record(*peers: RTCPeerConnection) -> None:
        histories.extend(states(x) for x in peers)

    async with connected_pair(network, prepare=record) as pair:
        await restart_call(pair.offerer, pair.answerer)
        await restart_call(pair.answerer, pair.offerer)
        await asyncio.sleep(10)
        ice = ["new", "checking", "completed", *["connected", "completed"] * 2]
        gathering = ["new", "gathering", "complete", *["gathering", "complete"] * 2]
        for history in histories:
            assert history.ice == ice
            assert history.connection == ["new", "connecting", "connected"]
            assert history.gathering == gathering
    for history in histories:
        assert history.ice == [*ice, "closed"]
        assert history.connection == ["new", "connecting", "connected", "closed"]


async def test_states_of_a_call_whose_path_is_lost(network: Network) -> None:
    """
    A lost path is failed, and a restart goes through checking to completed.
    """
    async with connected_pair(network) as pair:
        peers = [pair.offerer, pair.answerer]
        histories = [states(x) for x in peers]
        network.cut()
        await asyncio.sleep(50)
        network.heal()
        await restart_call(*peers)
        await pair.exchange()
        for history in histories:
            assert history.ice == [
                *("completed", "disconnected", "failed", "checking", "completed")
            ]
            assert history.connection == [
                *("connected", "disconnected", "failed", "connecting", "connected")
            ]


async def test_states_of_a_call_whose_path_is_lost_during_a_restart(
    network: Network,
) -> None:
    """
    If the old path is lost while the new one is sought, the state is checking.
    """
    async with connected_pair(network) as pair:
        histories = [states(x) for x in (pair.offerer, pair.answerer)]
        network.cut()
        await asyncio.sleep(5)
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await asyncio.sleep(28)
        for history in histories:
            assert history.ice == ["completed", "connected", "checking"]
            assert history.connection == ["connected", "connecting"]
        network.heal()
        # The next retransmission of a check comes 31.5 s after the first one.
        await until(lambda: all(x.ice[-1] == "completed" for x in histories))
        await pair.exchange()


# The first connection fails (DESIGN.md, D13)


@pytest.mark.parametrize("by_offerer", [True, False])
@pytest.mark.parametrize("media", [True, False])
async def test_first_connection_fails(
    network: Network, by_offerer: bool, media: bool
) -> None:
    """
    A call which never came up is brought up by a restart, with its first handshake.
    """
    offerer = network.at("alice", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    answerer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    peers = [offerer, answerer]
    histories = [states(x) for x in peers]
    channel = offerer.createDataChannel("test")
    if media:
        offerer.addTransceiver("audio")
    network.cut()
    await negotiate(*peers)
    await until(lambda: all(x.iceConnectionState == "failed" for x in peers), 70)
    dtls = [x.sctp.transport for x in peers if x.sctp is not None]
    assert [x.state for x in dtls] == ["new", "new"]
    # Nothing but checks has been sent.
    assert all(x.message is not None for x in network.log)
    assert [x.connection[-1] for x in histories] == ["failed"] * 2
    await asyncio.sleep(30)
    network.heal()
    await negotiate(*(peers if by_offerer else peers[::-1]), iceRestart=True)
    await until(lambda: channel.readyState == "open")
    assert [x.state for x in dtls] == ["connected"] * 2
    for history in histories:
        expected = ["new", "checking", "failed", "checking", "completed"]
        assert history.ice == expected
        assert history.connection == [
            *("new", "connecting", "failed", "connecting", "connected")
        ]
    await restart_call(*peers)
    await asyncio.gather(*(x.close() for x in peers))


async def test_first_connection_with_a_late_answer(network: Network) -> None:
    """
    An answerer whose first checks have failed connects when the offerer, who has got
    the answer late, checks it.
    """
    offerer = network.at("alice", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    answerer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    history = states(answerer)
    channel = offerer.createDataChannel("test")
    network.cut()
    answer = await answered(answerer, await offered(offerer))
    await until(lambda: answerer.iceConnectionState == "failed", timeout=70)
    network.heal()
    await offerer.setRemoteDescription(answer)
    await until(lambda: channel.readyState == "open")
    assert history.ice == ["new", "checking", "failed", "completed"]
    await asyncio.gather(offerer.close(), answerer.close())


async def test_restart_before_the_first_connection(network: Network) -> None:
    """
    A restart in the midst of the first checks takes their place.
    """
    offerer = network.at("alice", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    answerer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    peers = [offerer, answerer]
    histories = [states(x) for x in peers]
    channel = offerer.createDataChannel("test")
    network.cut()
    await negotiate(*peers)
    await asyncio.sleep(5)
    network.heal()
    await negotiate(*peers, iceRestart=True)
    await until(lambda: channel.readyState == "open", timeout=2)
    for history in histories:
        assert history.ice == ["new", "checking", "completed"]
    await until(lambda: network.sockets("alice") == network.sockets("bob") == 1)
    await asyncio.gather(*(x.close() for x in peers))


@pytest.mark.parametrize("turns", [0, 1, 5, 10, 20, 40])
async def test_restart_right_after_the_start(network: Network, turns: int) -> None:
    """
    A restart may follow the first negotiation at once, whatever that has got to.
    """
    offerer = network.at("alice", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    answerer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    peers = [offerer, answerer]
    channel = offerer.createDataChannel("test")
    await negotiate(*peers)
    for _ in range(turns):
        await asyncio.sleep(0)
    first = [ice_transport(x).local_parameters for x in peers]
    await negotiate(*peers, iceRestart=True)
    await negotiate(*peers[::-1], iceRestart=True)
    await until(lambda: channel.readyState == "open", timeout=5)
    await until(
        lambda: all(ice_transport(x).state == "completed" for x in peers), timeout=5
    )
    assert not any(ice_transport(x).local_parameters in first for x in peers)
    await until(lambda: network.sockets("alice") == network.sockets("bob") == 1)
    await asyncio.gather(*(x.close() for x in peers))


# A connection which waits for a restart in vain (DESIGN.md, D9)


@pytest.mark.parametrize("seconds", [60.0, 5.0, None])
async def test_failed_connection_closes(
    network: Network, seconds: float | None
) -> None:
    """
    A connection whose path is lost closes itself after a time, or never.
    """
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=seconds)
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        network.cut()
        await until(lambda: history.connection[-1] == "failed", timeout=40)
        failed = network.now
        if seconds is None:
            await asyncio.sleep(1000)
            assert history.connection == ["connected", "disconnected", "failed"]
            network.heal()
            await restart_call(pair.offerer, pair.answerer)
            await pair.exchange()
        else:
            await until(lambda: history.connection[-1] == "closed", timeout=100)
            assert network.now - failed == pytest.approx(seconds, abs=0.1)
            await until(lambda: network.sockets("alice") == 0)


async def test_failed_connection_is_restarted_in_vain(network: Network) -> None:
    """
    While a restart is in progress the connection does not close; when it has failed,
    the time begins anew.
    """
    configuration = RTCConfiguration(
        iceServers=[], iceFailedTimeout=30, iceRestartTimeout=39.5
    )
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        network.cut()
        await until(lambda: history.connection[-1] == "failed", timeout=40)
        await asyncio.sleep(29)
        began = network.now
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await until(lambda: history.connection[-1] == "closed", timeout=100)
        assert network.now - began == pytest.approx(69.5, abs=0.3)
        assert history.connection == [
            *("connected", "disconnected", "failed"),
            *("connecting", "failed", "closed"),
        ]


async def test_unanswered_restart_does_not_keep_a_failed_connection(
    network: Network,
) -> None:
    """
    An offer which is never answered is no restart in progress.
    """
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=30)
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        network.cut()
        await until(lambda: history.connection[-1] == "failed", timeout=40)
        failed = network.now
        await asyncio.sleep(10)
        await offered(pair.offerer, iceRestart=True)
        await until(lambda: history.connection[-1] == "closed", timeout=40)
        assert network.now - failed == pytest.approx(30, abs=0.2)
        await until(lambda: network.sockets("alice") == 0)
