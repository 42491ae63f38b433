"""
What ends gathering, and what begins it again, while servers are being asked.
"""

import asyncio

import pytest

from .calls import ROLLBACK, ice_transport, offered, path, peers, ufrag_of
from .found import Found, asking, asking_peers, trickle
from .network import Network
from .probes import is_request, mapped, stun_server
from .turn import turn_server
from .utils import negotiate, states, until

STUN = "stun:10.0.9.1:3478"
OTHER = "stun:10.0.9.2:3478"
SILENT = "stun:10.0.9.3:3478"
TURN = "turn:10.0.8.1:3478"
DEAD = "turn:10.0.8.3:3478"

ENOUGH = 10.0
"Seconds after which no server is waited for any more."


@pytest.mark.parametrize("moment", [0, 0.5, 1.5])
@pytest.mark.parametrize("is_restart", [False, True])
@pytest.mark.parametrize("trickles", [False, True])
async def test_close(
    network: Network, moment: float, is_restart: bool, trickles: bool
) -> None:
    """
    A connection which is closed asks no server any more, tells nothing, and gives back
    the relay which it gets nevertheless.
    """
    stun = await stun_server(network, *(4 * [1.0]))
    turn = await turn_server(network, *(2 * [2.0]))
    urls = STUN, SILENT, TURN
    async with asking_peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        if is_restart:
            await negotiate(offerer, answerer)
            await until(lambda: offerer.iceConnectionState == "completed")
        offerer.setConfiguration(asking(*urls, iceTrickle=trickles))
        found = Found(network, offerer)
        begun = network.now
        setting = asyncio.create_task(offerer.setLocalDescription())
        await asyncio.sleep(moment)
        await offerer.close()
        told = len(found.times)
        assert network.now - begun < moment + 0.1
        await asyncio.wait([setting])
        # With trickle it has returned, unless it was closed in its first turn.
        assert (setting.exception() is None) == (trickles and moment > 0)
        await asyncio.sleep(0)
        questions = [x for x in asyncio.all_tasks() if "stun:" in x.get_name()]
        assert questions == []
        await asyncio.sleep(ENOUGH)
        assert len(found.times) == told
        assert not [
            x
            for x in network.log
            if x.time > begun + moment + 0.1
            and x.destination[0] in ("10.0.9.1", "10.0.9.3")
            and is_request(x)
        ]
    assert turn.live == 0
    turn.close()
    stun.close()


@pytest.mark.parametrize("what", ["rolled back", "replaced", "given up"])
async def test_restart_which_is_undone(network: Network, what: str) -> None:
    """
    A restart which is rolled back, replaced by another one, or given up by an offer
    that does not restart, tells of no candidate and of no failure any more, and gives
    back its relay.
    """
    stun = await stun_server(network, *(9 * [1.0]))
    turn = await turn_server(network, *(9 * [2.0]))
    async with asking_peers(network) as (offerer, answerer):
        channel = offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(1)
        plain = await offerer.createOffer()
        offerer.setConfiguration(asking(STUN, SILENT, TURN))
        found, history = Found(network, offerer), states(offerer)
        undone = await offered(offerer, iceRestart=True)
        await asyncio.sleep(0.5)
        assert [x.type for x in found.candidates] == ["host"]
        begun, told = network.now, len(found.times)
        if what == "rolled back":
            await offerer.setLocalDescription(ROLLBACK)
        elif what == "replaced":
            await offered(offerer, iceRestart=True)
        else:
            await offerer.setLocalDescription(plain)
        await asyncio.sleep(ENOUGH)
        later = found.times[told:]
        if what == "replaced":
            assert [y for _, y in later] == [
                *("host", "srflx", "relay", "701", "end", "None")
            ]
            assert history.gathering == ["complete", "gathering", "complete"]
        else:
            # The candidates of the generation in use had been gathered before.
            assert later == [(round(begun, 3), "None")]
            assert history.gathering == ["complete", "gathering", "complete"]
        username = ufrag_of(undone)
        ours = [x for x in found.candidates if x.usernameFragment == username]
        assert [x.type for x in ours] == ["host"]
        # Beside that of the call there are the socket and the relay of what replaced.
        assert turn.live == (what == "replaced")
        assert network.sockets("alice") == (3 if what == "replaced" else 1)
        await negotiate(offerer, answerer)
        await until(lambda: offerer.iceConnectionState == "completed")
    turn.close()
    stun.close()


async def test_restart_while_in_use(network: Network) -> None:
    """
    What a generation that has been replaced still gathers is told no more, though the
    call is on it until the new one has a path.
    """
    stun = await stun_server(network, *(4 * [1.0]))
    turn = await turn_server(network, *(2 * [2.0]))
    async with asking_peers(network, STUN, SILENT, TURN, DEAD) as (offerer, answerer):
        found = Found(network, offerer)
        channel = offerer.createDataChannel("test")
        first, _ = await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open")
        assert network.now < 0.5
        network.cut("alice", "bob")
        second, _ = await negotiate(offerer, answerer, iceRestart=True)
        await asyncio.sleep(ENOUGH)
        told = [
            [x.type for x in found.candidates if x.usernameFragment == ufrag_of(y)]
            for y in (first, second)
        ]
        assert told == [["host"], ["host", "srflx", "relay"]]
        assert sorted(x.url for x in found.errors) == [SILENT, DEAD]
        # The new one has found its path by the relay, and the old one is retired.
        await until(lambda: path(ice_transport(offerer))[0] == ufrag_of(second))
        await asyncio.sleep(ENOUGH)
        assert turn.live == 1
    await until(lambda: turn.live == 0)
    turn.close()
    stun.close()


async def test_more_servers(network: Network) -> None:
    """
    With more servers, which setConfiguration() brings, the next offer restarts ICE and
    asks them, too.
    """
    # RFC 9429 section 4.1.18
    servers = [
        await stun_server(network, *(2 * [0.1])),
        await stun_server(network, 0.2, address="10.0.9.2", answer=mapped("192.0.2.2")),
    ]
    async with peers(network, configuration=asking()) as (offerer, answerer):
        offerer.setConfiguration(asking(STUN))
        channel = offerer.createDataChannel("test")
        trickle(offerer, answerer)
        await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(1)
        found, history = Found(network, offerer), states(offerer)
        offerer.setConfiguration(asking(STUN, OTHER))
        await asyncio.sleep(1)
        assert history.negotiationneeded == 0
        offer, _ = await negotiate(offerer, answerer)
        await until(lambda: len(found.times) == 5)
        types = ["host", "srflx", "srflx", "end", "None"]
        assert [what for _, what in found.times] == types
        assert {x.usernameFragment for x in found.candidates} == {ufrag_of(offer)}
        await until(lambda: offerer.iceConnectionState == "completed")
        assert history.gathering == ["complete", "gathering", "complete"]
    for server in servers:
        server.close()
