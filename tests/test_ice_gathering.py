"""
Gathering, and restarts in the midst of it.
"""

import asyncio
from typing import Any

import pytest
from aiortc import RTCIceServer

from aiortc_restart import (
    RTCConfiguration,
    RTCIceGatherer,
    RTCIceTransport,
    RTCPeerConnection,
)
from aiortc_restart.ice import create_credentials
from aiortc_restart.ice.generation import IceGeneration

from .agents import (
    described,
    fragment,
    make_gatherer,
    make_transport,
    socket_address,
)
from .calls import answered, ice_transport, offered
from .calls import switched as switched_calls
from .network import Network
from .probes import stun_server
from .utils import candidates, connected_pair, credentials, states, until

SLOW_SERVER = [RTCIceServer("stun:10.0.9.1:3478")]
"A server which is not there, for which gathering waits for five seconds."


def gathering_states(gatherer: RTCIceGatherer) -> list[str]:
    history = [gatherer.state]
    gatherer.on("statechange", lambda: history.append(gatherer.state))
    return history


async def close(*generations: IceGeneration) -> None:
    for generation in generations:
        await generation.close()


# Gathering


async def test_gather(network: Network) -> None:
    """
    Candidates name the generation which they belong to.
    """
    gatherer = make_gatherer(network, "alice")
    history = gathering_states(gatherer)
    await gatherer.gather()
    (found,) = gatherer.getLocalCandidates()
    parameters = gatherer.getLocalParameters()
    assert getattr(found, "usernameFragment", None) == parameters.usernameFragment
    assert history == ["new", "gathering", "completed"]
    await close(gatherer.generation)


async def test_gather_twice(network: Network) -> None:
    """
    A generation gathers once, whoever asks, and each waits for the end.
    """
    gatherer = make_gatherer(network, "alice", iceServers=SLOW_SERVER)
    history = gathering_states(gatherer)
    await asyncio.gather(gatherer.gather(), gatherer.gather())
    assert network.now == pytest.approx(5, abs=0.1)
    await gatherer.gather()
    assert network.sockets("alice") == 1
    assert history == ["new", "gathering", "completed"]
    await close(gatherer.generation)


async def test_gather_by_one_who_is_cancelled(network: Network) -> None:
    """
    Who waits for the end of gathering may be cancelled without harm to others.
    """
    gatherer = make_gatherer(network, "alice", iceServers=SLOW_SERVER)
    first = asyncio.create_task(gatherer.gather())
    second = asyncio.create_task(gatherer.gather())
    await asyncio.sleep(1)
    first.cancel()
    await second
    assert first.cancelled()
    assert gatherer.state == "completed"
    assert len(gatherer.getLocalCandidates()) == 1
    await close(gatherer.generation)


async def test_gather_after_restart(network: Network) -> None:
    """
    A restart gathers again, and the state says so.
    """
    # webrtc-pc #dom-rtcicegatheringstate
    gatherer = make_gatherer(network, "alice")
    await gatherer.gather()
    first = gatherer.generation
    history = gathering_states(gatherer)
    second = gatherer.create_generation(create_credentials(), ice_controlling=True)
    assert gatherer.getLocalCandidates() == []
    await gatherer.gather()
    assert history == ["completed", "gathering", "completed"]
    assert network.sockets("alice") == 2
    assert socket_address(first) != socket_address(second)
    await close(first, second)


# A restart in the midst of gathering


@pytest.mark.parametrize("moment", [0, 0.5, 2.9])
async def test_restart_while_gathering(network: Network, moment: float) -> None:
    """
    Gathering which is overtaken by a restart never writes its result over the new one.
    """
    # The first generation's question is answered in the midst of the second's.
    server = await stun_server(network, 3.0, 4.0)
    gatherer = make_gatherer(network, "alice", iceServers=SLOW_SERVER)
    history = gathering_states(gatherer)
    waiting = asyncio.create_task(gatherer.gather())
    await asyncio.sleep(moment)
    first = gatherer.generation
    # The transport knows those that are alive.
    gatherer.others = lambda: [first]
    second = gatherer.create_generation(create_credentials(), ice_controlling=True)
    await waiting

    # Who waited for the first has waited for the second.
    assert history[-1] == "completed"
    assert gatherer.generation is second
    types = sorted(x.type for x in gatherer.getLocalCandidates())
    assert types == ["host", "srflx"]
    found = {getattr(x, "usernameFragment", "") for x in gatherer.getLocalCandidates()}
    assert found == {fragment(second)}
    ports = {x.port for x in gatherer.getLocalCandidates()}
    local = [x for x in second.connection.local_candidates if x.type == "host"]
    assert ports == {x.port for x in local}
    assert history == ["new", "gathering", "completed"]
    await close(first, second)
    server.close()


def negotiated_transport(network: Network, **options: Any) -> RTCIceTransport:
    """
    Return a transport whose checks have not begun, though a peer has been described.
    """
    transport = make_transport(network, "alice", **options)
    transport.propose(remote=create_credentials())
    transport.agree(answerer=False)
    return transport


async def test_restart_twice_back_to_back(network: Network) -> None:
    """
    Of restarts which follow each other at once the last one is gathered for.
    """
    transport = negotiated_transport(network)
    waiting = asyncio.create_task(transport.iceGatherer.gather())
    for _ in range(3):
        await asyncio.sleep(0)
        transport.propose(create_credentials())
    last = transport.iceGatherer.getLocalParameters()
    await asyncio.gather(waiting, transport.iceGatherer.gather())
    signal = described(transport)
    assert signal.parameters == last
    assert {getattr(x, "usernameFragment", "") for x in signal.candidates} == {
        last.usernameFragment
    }
    assert len(transport.generations) == 2
    await until(lambda: network.sockets("alice") == 2, timeout=1)
    await transport.stop()


async def test_replaced_while_gathering(network: Network) -> None:
    """
    A restart which replaces one that is gathering gives its sockets back at once.
    """
    server = await stun_server(network, 1.0, 4.0, 4.0)
    transport = negotiated_transport(network, iceServers=SLOW_SERVER)
    await transport.iceGatherer.gather()
    transport.propose(create_credentials())
    waiting = asyncio.create_task(transport.iceGatherer.gather())
    await asyncio.sleep(1)
    assert network.sockets("alice") == 2
    transport.propose(create_credentials())
    await asyncio.sleep(0.1)
    assert network.sockets("alice") == 2
    await waiting
    await transport.stop()
    server.close()


async def test_discard_while_gathering(network: Network) -> None:
    """
    A restart which is given up while it gathers leaves the old candidates in force.
    """
    server = await stun_server(network, 1.0, 1.0)
    transport = negotiated_transport(network, iceServers=SLOW_SERVER)
    await transport.iceGatherer.gather()
    before = described(transport)
    transport.propose(create_credentials())
    waiting = asyncio.create_task(transport.iceGatherer.gather())
    await asyncio.sleep(0.5)
    assert transport.iceGatherer.state == "gathering"
    transport.withdraw()
    assert transport.iceGatherer.state == "completed"
    await waiting
    assert described(transport) == before
    assert network.sockets("alice") == 1
    await transport.stop()
    server.close()


@pytest.mark.parametrize("turns", range(8))
async def test_stop_while_gathering(network: Network, turns: int) -> None:
    """
    A transport which is stopped while it gathers leaves no socket behind, in whichever
    turn of the event loop that may be.
    """
    transport = negotiated_transport(network, iceServers=SLOW_SERVER)
    waiting = asyncio.create_task(transport.iceGatherer.gather())
    for _ in range(turns):
        await asyncio.sleep(0)
    await transport.stop()
    await asyncio.wait_for(waiting, 1)
    await until(lambda: network.sockets("alice") == 0, timeout=1)


async def test_gather_after_stop(network: Network) -> None:
    """
    A transport which has been stopped does not gather any more.
    """
    transport = negotiated_transport(network)
    await transport.stop()
    await transport.iceGatherer.gather()
    assert network.sockets("alice") == 0


# Calls


@pytest.mark.parametrize("moment", [0, 0.5])
@pytest.mark.parametrize("by_offerer", [True, False])
async def test_call_restarts_while_gathering(
    network: Network, moment: float, by_offerer: bool
) -> None:
    """
    A second restart in the midst of the first one's gathering takes its place, and
    both calls of setLocalDescription() return with what the second one gathered.
    """
    server = await stun_server(network, *([1.0] * 10))
    configuration = RTCConfiguration(iceServers=SLOW_SERVER)
    async with connected_pair(network, configuration=configuration) as pair:
        offerer, answerer = pair.offerer, pair.answerer
        if not by_offerer:
            offerer, answerer = answerer, offerer
        history = states(offerer)
        first = asyncio.create_task(offered(offerer, iceRestart=True))
        await asyncio.sleep(moment)
        second = asyncio.create_task(offered(offerer, iceRestart=True))
        await asyncio.sleep(0.2)
        await pair.exchange()
        await asyncio.wait([first, second])
        # The stale description has not replaced the one which was set last.
        assert offerer.localDescription.sdp == second.result().sdp
        assert credentials(first.result()) == credentials(second.result())
        assert history.gathering == ["complete", "gathering", "complete"]
        found = candidates(second.result())
        assert [x.type for x in found] == ["host", "srflx"]
        (port,) = {
            x.port
            for x in ice_transport(offerer).iceGatherer.getLocalCandidates()
            if x.type == "host"
        }
        assert {x.port for x in found} == {port}
        await offerer.setRemoteDescription(await answered(answerer, second.result()))
        await switched_calls(offerer, answerer)
        await pair.exchange()
        await asyncio.sleep(4)
        assert network.sockets("alice") == network.sockets("bob") == 1
    server.close()


async def test_call_restarts_while_it_gathers_for_the_first_time(
    network: Network,
) -> None:
    """
    A restart in the midst of the first gathering is the first negotiation.
    """
    server = await stun_server(network, *([1.0] * 10))
    configuration = RTCConfiguration(iceServers=SLOW_SERVER)
    offerer = network.at("alice", RTCPeerConnection)(configuration)
    answerer = network.at("bob", RTCPeerConnection)(configuration)
    channel = offerer.createDataChannel("test")
    first = asyncio.create_task(offered(offerer))
    await asyncio.sleep(0.5)
    offerer.restartIce()
    offer = await offered(offerer)
    await first
    assert credentials(offerer.localDescription) == credentials(offer)
    assert [x.type for x in candidates(offer)] == ["host", "srflx"]
    await offerer.setRemoteDescription(await answered(answerer, offer))
    await until(lambda: channel.readyState == "open")
    await until(lambda: network.sockets("alice") == network.sockets("bob") == 1)
    await asyncio.gather(offerer.close(), answerer.close())
    server.close()


# webrtc-pc #dom-rtcpeerconnection-restartice
async def test_restart_ice_while_gathering(network: Network) -> None:
    """
    A restart which is asked for while another one gathers is not forgotten over it.
    """
    server = await stun_server(network, *([1.0] * 10))
    configuration = RTCConfiguration(iceServers=SLOW_SERVER)
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        first = asyncio.create_task(offered(pair.offerer, iceRestart=True))
        await asyncio.sleep(0.5)
        pair.offerer.restartIce()
        answer = await answered(pair.answerer, await first)
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(1)
        assert history.negotiationneeded == 1
        again = await offered(pair.offerer)
        assert credentials(again) != credentials(first.result())
        answer = await answered(pair.answerer, again)
        await pair.offerer.setRemoteDescription(answer)
        await switched_calls(pair.offerer, pair.answerer)
        await pair.exchange()
        assert history.negotiationneeded == 1
    server.close()


@pytest.mark.parametrize("moment", [0.3, 0.9])
async def test_answerer_is_restarted_while_gathering(
    network: Network, moment: float
) -> None:
    """
    An answer whose gathering is under way when the peer replaces its offer is late, and
    does no harm to the answer to the second offer.
    """
    server = await stun_server(network, *([1.0] * 10))
    configuration = RTCConfiguration(iceServers=SLOW_SERVER)
    async with connected_pair(network, configuration=configuration) as pair:
        first = await offered(pair.offerer, iceRestart=True)
        second = await offered(pair.offerer, iceRestart=True)
        late = asyncio.create_task(answered(pair.answerer, first))
        await asyncio.sleep(moment)
        answer = await answered(pair.answerer, second)
        await late
        await pair.exchange()
        await pair.offerer.setRemoteDescription(answer)
        await switched_calls(pair.offerer, pair.answerer)
        await pair.exchange()
        await asyncio.sleep(4)
        assert network.sockets("alice") == network.sockets("bob") == 1
    server.close()
