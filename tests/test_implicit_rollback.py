"""
An offer which meets our own rolls that back first, in one step (webrtc-pc
#dom-peerconnection-setremotedescription).
"""

import asyncio

import pytest
from aiortc.exceptions import OperationError

from aiortc_restart import RTCPeerConnection

from .calls import (
    RETIREMENT,
    SETTLING,
    answered,
    edited,
    ice_transport,
    offered,
    paths,
    peers,
    restart,
    switched,
)
from .media import Pictures, flowing
from .network import Network
from .snapshots import nothing_changes, slots, watch_slots
from .utils import connected_pair, credentials, negotiate, states

CODECS = r"opus/48000/2|G722/8000|PCM[AU]/8000"


async def test_first(network: Network) -> None:
    """
    In the first negotiation the polite peer takes the other's offer, and then makes its
    own.
    """
    async with peers(network) as (impolite, polite):
        for pc in (impolite, polite):
            pc.addTrack(Pictures())
            pc.createDataChannel("test")
            pc.addTransceiver("audio", "recvonly")
        watch_slots(impolite, polite)
        history = states(polite)
        offer = await offered(impolite)
        await offered(polite)
        answer = await answered(polite, offer)
        await impolite.setRemoteDescription(answer)
        assert history.signaling == [
            "stable",
            "have-local-offer",
            "stable",
            "have-remote-offer",
            "stable",
        ]
        await switched(impolite, polite)
        await flowing(impolite, polite)
        # Both had the same to say: it is not asked for again.
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await restart(polite, impolite)
        assert network.sockets("alice") <= 2


async def test_one_step(network: Network) -> None:
    """
    Nothing else has its turn between the rollback and the offer.
    """
    async with connected_pair(network) as pair:
        pc = pair.answerer
        offer = await offered(pair.offerer)
        await offered(pc)
        order: list[str] = []
        pc.on("signalingstatechange", lambda: order.append(pc.signalingState))
        pc.on("negotiationneeded", lambda: order.append("negotiationneeded"))
        pc.restartIce()

        async def create() -> None:
            await pc.createAnswer()
            order.append("answer")

        await asyncio.gather(pc.setRemoteDescription(offer), create())
        await asyncio.sleep(SETTLING)
        assert order == ["stable", "have-remote-offer", "answer"]


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("^(.*\r\n)*", ""),
        ("^a=ice-pwd:.*\r\n", ""),
        ("^a=ice-ufrag:.*\r\n", "a=ice-ufrag:-\r\n"),
        ("^a=fingerprint:.*\r\n", ""),
        ("^m=application", "m=audio 9 UDP/TLS/RTP/SAVPF x"),
    ],
)
async def test_not_valid(network: Network, pattern: str, replacement: str) -> None:
    """
    An offer which is not valid rolls nothing back.
    """
    async with connected_pair(network) as pair:
        pc, other = pair.offerer, pair.answerer
        offer = await offered(pc, iceRestart=True)
        bad = edited(await other.createOffer(), pattern, replacement)
        with nothing_changes(pc), pytest.raises(ValueError, match=r"."):
            await pc.setRemoteDescription(bad)
        assert pc.signalingState == "have-local-offer"
        await pc.setRemoteDescription(await answered(other, offer))
        await switched(pc, other)
        await pair.exchange()


@pytest.mark.parametrize("restarts", ["iceRestart", "restartIce", "plain"])
async def test_not_applicable(network: Network, restarts: str) -> None:
    """
    After an offer which fails while it is applied our own has been rolled back: the
    state is stable, and what is needed is asked for again.
    """

    def prepare(*pcs: RTCPeerConnection) -> None:
        for pc in pcs:
            pc.addTransceiver("audio")

    async with connected_pair(network, prepare=prepare) as pair:
        pc, other = pair.offerer, pair.answerer
        watch_slots(pc)
        before = paths(pc)
        if restarts == "restartIce":
            pc.restartIce()
        await asyncio.sleep(SETTLING)
        history = states(pc)
        bad = edited(await other.createOffer(iceRestart=True), CODECS, "unknown/8000")
        await offered(pc, iceRestart=restarts == "iceRestart")
        with pytest.raises(OperationError):
            await pc.setRemoteDescription(bad)
        assert history.signaling == ["stable", "have-local-offer", "stable"]
        assert slots(pc) == ["offer", "answer", None, None]
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == (1 if restarts == "restartIce" else 0)
        assert paths(pc) == before
        assert network.sockets("alice") == 1
        assert not ice_transport(pc).restarting
        await pair.exchange()
        await negotiate(pc, other)
        await restart(other, pc)


@pytest.mark.parametrize("theirs", ["restart", "plain"])
async def test_glare(network: Network, theirs: str) -> None:
    """
    A restart which loses against the peer's offer is offered again, with yet other
    credentials, unless that offer was a restart, too.
    """
    async with connected_pair(network) as pair:
        polite, impolite = pair.offerer, pair.answerer
        history = states(polite)
        polite.restartIce()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        lost = await offered(polite)
        offer = await offered(impolite, iceRestart=theirs == "restart")
        answer = await answered(polite, offer)
        assert set(credentials(answer)).isdisjoint(credentials(lost))
        await impolite.setRemoteDescription(answer)
        await asyncio.sleep(SETTLING)
        await switched(polite, impolite)
        assert history.negotiationneeded == (1 if theirs == "restart" else 2)
        again = await offered(polite)
        assert set(credentials(again)).isdisjoint(credentials(lost))
        assert (credentials(again) == credentials(answer)) == (theirs == "restart")
        await impolite.setRemoteDescription(again)
        await impolite.setLocalDescription()
        await polite.setRemoteDescription(impolite.localDescription)
        await switched(polite, impolite)
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1
        assert history.negotiationneeded == (1 if theirs == "restart" else 2)
        await pair.exchange()
