"""
A restart which does not succeed ends at its deadline, and the call goes on.
"""

import asyncio
import logging

import aiortc
import pytest

from aiortc_restart import RTCConfiguration, RTCIceTransport

from .agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    exchange,
    offer_restart,
    socket_address,
    states_of,
)
from .calls import ice_transport
from .calls import restart as restart_call
from .network import Datagram, Network
from .utils import Pair, connected_pair, negotiate, states, until

DEFAULT = 39.5
"Seconds (RFC 8863 section 3)."


def block_new_sockets(network: Network) -> None:
    """
    Let no path work but those which there are.
    """
    known = {x.local for name in ("alice", "bob") for x in network._hosts[name].sockets}

    def is_known(datagram: Datagram) -> bool:
        return datagram.source in known

    network.filter = is_known


def transports(pair: Pair) -> list[RTCIceTransport]:
    return [ice_transport(pair.offerer), ice_transport(pair.answerer)]


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (RTCConfiguration(iceServers=[]), DEFAULT),
        (aiortc.RTCConfiguration(iceServers=[]), DEFAULT),
        (RTCConfiguration(iceServers=[], iceRestartTimeout=5), 5.0),
        (RTCConfiguration(iceServers=[], iceRestartTimeout=100.0), 100.0),
    ],
    ids=["default", "of the base", "5", "100"],
)
async def test_deadline(
    network: Network, configuration: aiortc.RTCConfiguration, expected: float
) -> None:
    """
    The call stays on the old pair, and the state goes back to completed.
    """
    # RFC 8863 section 3
    async with connected_pair(network, configuration=configuration) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        before = [x.getSelectedCandidatePair() for x in transports(pair)]
        block_new_sockets(network)
        began = network.now
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await asyncio.sleep(expected - 1)
        assert [x.ice[-1] for x in histories] == ["connected"] * 2
        assert network.sockets("alice") == network.sockets("bob") == 2
        await pair.exchange()
        await until(lambda: all(x.ice[-1] == "completed" for x in histories))
        assert network.now - began == pytest.approx(expected, abs=0.2)
        assert [x.ice for x in histories] == [
            ["completed", "connected", "completed"]
        ] * 2
        assert [x.connection for x in histories] == [["connected"]] * 2
        await asyncio.sleep(60)
        assert network.sockets("alice") == network.sockets("bob") == 1
        assert [x.getSelectedCandidatePair() for x in transports(pair)] == before
        await pair.exchange()

        # Another one may be tried, by either side.
        network.filter = None
        await restart_call(pair.answerer, pair.offerer)
        await pair.exchange()


async def test_without_deadline(network: Network) -> None:
    """
    A restart without a deadline never fails; it succeeds when a path appears.
    """
    configuration = RTCConfiguration(iceServers=[], iceRestartTimeout=None)
    async with connected_pair(network, configuration=configuration) as pair:
        block_new_sockets(network)
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        # The last retransmission of a check is sent after 31.5 s.
        await asyncio.sleep(30)
        assert [x.state for x in transports(pair)] == ["connected"] * 2
        await pair.exchange()
        network.filter = None
        await until(lambda: all(x.state == "completed" for x in transports(pair)))
        assert all(x._active is current(x) for x in transports(pair))
        await pair.exchange()


async def test_without_deadline_for_long(network: Network) -> None:
    """
    Nor does it fail when its checks have been given up.
    """
    async with connected_transports(network, restartTimeout=None) as (alice, bob):
        block_new_sockets(network)
        answer = await answer_restart(bob, await offer_restart(alice))
        await accept_restart(alice, answer)
        await asyncio.sleep(600)
        assert alice.state == bob.state == "connected"


async def test_deadline_counts_from_the_answer(network: Network) -> None:
    """
    The deadline is the checks', and does not run while the answer is awaited.
    """
    async with connected_transports(network, restartTimeout=5) as (alice, bob):
        offer = await offer_restart(alice)
        await asyncio.sleep(60)
        answer = await answer_restart(bob, offer)
        await accept_restart(alice, answer)
        await until(lambda: alice.state == bob.state == "completed", timeout=1)
        assert alice._active is current(alice)


@pytest.mark.parametrize("lost_first", [True, False])
async def test_deadline_without_the_old_path(
    network: Network, lost_first: bool
) -> None:
    """
    If there is no old pair any more, a restart that fails ends in failed.
    """
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=None)
    async with connected_pair(network, configuration=configuration) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        network.cut()
        expected = ["completed", "connected", "checking", "failed"]
        if lost_first:
            await asyncio.sleep(60)
            expected = ["completed", "disconnected", "failed", "checking", "failed"]
        began = network.now
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await until(
            lambda: all(len(x.ice) == len(expected) for x in histories),
            timeout=DEFAULT + 1,
        )
        assert network.now - began == pytest.approx(DEFAULT, abs=0.2)
        assert [x.ice for x in histories] == [expected] * 2
        network.heal()
        await restart_call(pair.offerer, pair.answerer)
        expected += ["checking", "completed"]
        assert [x.ice for x in histories] == [expected] * 2
        assert [x.connection[-1] for x in histories] == ["connected"] * 2
        await pair.exchange()


async def test_old_path_is_lost_after_the_deadline(network: Network) -> None:
    """
    After a restart that failed the old pair is watched as before.
    """
    configuration = RTCConfiguration(iceServers=[], iceRestartTimeout=5)
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        block_new_sockets(network)
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await asyncio.sleep(100)
        network.cut()
        await asyncio.sleep(35)
        assert history.ice == [
            *("completed", "connected", "completed", "disconnected", "failed")
        ]
        network.heal()
        network.filter = None
        await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()


@pytest.mark.parametrize("outage", [8.0, None])
async def test_new_path_dies_while_its_pair_is_nominated(
    network: Network, outage: float | None
) -> None:
    """
    A new path which dies between its check and its nomination, for a time or for good,
    does not take the old path with it.
    """
    async with connected_transports(network) as (alice, bob):
        known = {socket_address(active(x)) for x in (alice, bob)}
        died: list[float] = []

        def is_alive(datagram: Datagram) -> bool:
            if datagram.source in known:
                return True
            message = datagram.message
            if message is not None and "USE-CANDIDATE" in message.attributes:
                died.append(network.now)
            if not died:
                return True
            return outage is not None and network.now - died[0] > outage

        network.filter = is_alive
        await accept_restart(
            alice, await answer_restart(bob, await offer_restart(alice))
        )
        await until(lambda: bool(died))
        await asyncio.sleep(60)
        assert alice.state == bob.state == "completed"
        await exchange(alice, bob)


async def test_log(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """
    A restart which fails says so in the log, once.
    """
    caplog.set_level(logging.WARNING, logger="aiortc_restart")
    async with connected_transports(network, restartTimeout=5) as (alice, bob):
        block_new_sockets(network)
        # The peer's deadline is another matter.
        await answer_restart(bob, await offer_restart(alice))
        await asyncio.sleep(10)
        assert [x.message for x in caplog.records] == [
            "ICE restart failed: no candidate pair worked within 5 seconds"
        ]
        assert bob.state == "completed"


async def test_restart_during_one_that_fails(network: Network) -> None:
    """
    A new restart takes the place of one whose checks run in vain, deadline and all.
    """
    async with connected_transports(network, restartTimeout=10) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        block_new_sockets(network)
        await accept_restart(
            alice, await answer_restart(bob, await offer_restart(alice))
        )
        await asyncio.sleep(9)
        await accept_restart(
            alice, await answer_restart(bob, await offer_restart(alice))
        )
        await asyncio.sleep(0.1)
        assert network.sockets("alice") == network.sockets("bob") == 2
        await asyncio.sleep(5)
        assert alice.state == bob.state == "connected"
        network.filter = None
        await until(lambda: alice.state == bob.state == "completed")
        assert alice._active is current(alice)
        assert bob._active is current(bob)
        assert histories == [["completed", "connected", "completed"]] * 2
