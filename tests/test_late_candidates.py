"""
Calls which come up while servers are being asked (RFC 8838).
"""

import asyncio

import aioice.stun
import pytest

from aiortc_restart.ice.stun import StunProtocol

from .calls import ice_transport, path, peers, ufrag_of
from .found import Found, asking, asking_peers, trickle
from .network import Address, Network
from .turn import turn_server
from .utils import connected_pair, negotiate, states, until

STUN = "stun:10.0.9.1:3478"
SILENT = "stun:10.0.9.3:3478"
TURN = "turn:10.0.8.1:3478"

ENOUGH = 10.0
"Seconds after which no server is waited for any more."


def send_checks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let a check without an answer fail soon: it is not repeated.
    """
    request = StunProtocol.request

    async def once(
        self: StunProtocol,
        message: aioice.stun.Message,
        addr: Address,
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[aioice.stun.Message, Address]:
        if integrity_key is not None:
            retransmissions = 0
        return await request(self, message, addr, integrity_key, retransmissions)

    monkeypatch.setattr(StunProtocol, "request", once)


# Checks


async def test_checks_do_not_wait(network: Network) -> None:
    """
    A call comes up while a server does not answer, and is completed when that is known.
    """
    # RFC 8838 section 8, webrtc-pc #dom-rtcicetransportstate-completed
    network.delay(0.05)
    async with asking_peers(network, SILENT) as (offerer, answerer):
        found, history = Found(network, offerer), states(offerer)
        channel = offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        assert network.now == 0
        await until(lambda: channel.readyState == "open")
        assert network.now < 1
        assert offerer.iceConnectionState == "connected"
        assert offerer.iceGatheringState == "gathering"
        await until(lambda: offerer.iceConnectionState == "completed")
        assert network.now == pytest.approx(5, abs=0.1)
        assert [what for _, what in found.times] == ["host", "701", "end", "None"]
        assert history.ice == ["new", "checking", "connected", "completed"]
        assert history.connection == ["new", "connecting", "connected"]


@pytest.mark.parametrize("by_offerer", [True, False])
async def test_restart_does_not_wait(network: Network, by_offerer: bool) -> None:
    """
    Nor does a restart wait for a server, in either role.
    """
    async with connected_pair(
        network, configuration=asking(SILENT), prepare=trickle
    ) as pair:
        await asyncio.sleep(ENOUGH)
        offerer, answerer = pair.offerer, pair.answerer
        if not by_offerer:
            offerer, answerer = answerer, offerer
        begun = network.now
        offer, _ = await negotiate(offerer, answerer, iceRestart=True)
        await until(lambda: path(ice_transport(offerer))[0] == ufrag_of(offer))
        assert network.now - begun < 0.2
        await pair.exchange()
        assert network.now - begun < 0.5
        await asyncio.sleep(ENOUGH)
        assert network.sockets("alice") == network.sockets("bob") == 1


@pytest.mark.parametrize("relayed", ["offerer", "answerer"])
@pytest.mark.parametrize("hosts", ["pending", "failed"])
async def test_late_relay(
    network: Network, monkeypatch: pytest.MonkeyPatch, hosts: str, relayed: str
) -> None:
    """
    A relay which comes when the checks of the host candidates are under way, or have
    all failed, is paired and checked: the call comes up by it.
    """
    # RFC 8838 section 12
    server = await turn_server(network, 3.0)
    network.cut("alice", "bob")
    async with peers(network, configuration=asking()) as (offerer, answerer):
        trickle(offerer, answerer)
        relaying = offerer if relayed == "offerer" else answerer
        relaying.setConfiguration(asking(TURN))
        history = states(offerer)
        channel = offerer.createDataChannel("test")
        with monkeypatch.context() as patch:
            if hosts == "failed":
                send_checks_once(patch)
            await negotiate(offerer, answerer)
            await asyncio.sleep(2.5)
        (pair,) = ice_transport(relaying)._connection._check_list
        assert pair.state.name == ("FAILED" if hosts == "failed" else "IN_PROGRESS")
        await until(lambda: channel.readyState == "open")
        assert 3 < network.now < 4
        selected = ice_transport(relaying).getSelectedCandidatePair()
        assert selected is not None
        assert selected.local.type == "relay"
        await until(lambda: offerer.iceConnectionState == "completed")
        assert history.ice == ["new", "checking", "connected", "completed"]
    await until(lambda: server.live == 0)
    server.close()


async def test_all_fail(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call whose pairs have all failed has not, as long as there may be others, and then
    does at its deadline.
    """
    # RFC 8863 section 3
    network.cut("alice", "bob")
    async with peers(network, configuration=asking(SILENT)) as (offerer, answerer):
        trickle(offerer, answerer)
        history = states(offerer)
        offerer.createDataChannel("test")
        send_checks_once(monkeypatch)
        await negotiate(offerer, answerer)
        await asyncio.sleep(39)
        assert history.ice == ["new", "checking"]
        await asyncio.sleep(1)
        assert history.ice == ["new", "checking", "failed"]


async def test_without_trickle_all_fail(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without trickle it has failed when its pairs have, as in aiortc.
    """
    network.cut("alice", "bob")
    configuration = asking(SILENT, iceTrickle=False)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        history = states(offerer)
        offerer.createDataChannel("test")
        send_checks_once(monkeypatch)
        await negotiate(offerer, answerer)
        begun = network.now
        await until(lambda: offerer.iceConnectionState == "failed")
        assert network.now - begun < 1
        assert history.ice == ["new", "checking", "failed"]
