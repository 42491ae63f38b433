"""
An offer of the peer's that meets ours: ours is rolled back for it (webrtc-pc
#dom-peerconnection-setremotedescription).
"""

import asyncio

import pytest

from aiortc_restart import InvalidStateError, RTCPeerConnection, RTCSessionDescription

from .calls import (
    SETTLING,
    answered,
    edited,
    ice_transport,
    offered,
    path,
    paths,
    switched,
    ufrag_of,
)
from .media import add_media
from .network import Network
from .snapshots import snapshot
from .utils import Pair, connected_pair, credentials, sdp_edit, states

ROLLBACK = RTCSessionDescription(sdp="", type="rollback")


def prepare(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTransceiver("audio")


async def finish(pair: Pair) -> None:
    """
    Answer the answerer's offer, by whoever has it, and use what it has brought.
    """
    await pair.offerer.setLocalDescription()
    await pair.answerer.setRemoteDescription(pair.offerer.localDescription)
    await switched(pair.offerer, pair.answerer)
    await pair.exchange()


@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_one_step(network: Network, restarts: bool) -> None:
    """
    It is one step: our offer goes, theirs comes, and no other step is in between.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        pc = pair.offerer
        before, history = snapshot(pc), states(pc)
        offer = await offered(pair.answerer, iceRestart=restarts)
        add_media(pc)
        await offered(pc, iceRestart=True)
        steps = [
            asyncio.create_task(pc.setRemoteDescription(offer)),
            asyncio.create_task(pc.setLocalDescription()),
        ]
        await asyncio.gather(*steps)
        assert history.signaling == [
            *("stable", "have-local-offer", "stable"),
            *("have-remote-offer", "stable"),
        ]
        assert pc.localDescription.type == "answer"
        assert pc.currentRemoteDescription == pc.remoteDescription
        assert pc.pendingLocalDescription is None
        await pair.answerer.setRemoteDescription(pc.localDescription)
        await switched(pc, pair.answerer)
        ufrag, _ = path(ice_transport(pc))
        assert (ufrag in before["slots"][0].sdp) != restarts
        await pair.exchange()


INVALID = {
    "fmt": ("^m=audio .*", "m=audio 9 UDP/TLS/RTP/SAVPF x"),
    "media": ("^m=audio .*", "m=audio"),
    "no-ufrag": (r"^a=ice-ufrag:.*\n", ""),
    "no-pwd": (r"^a=ice-pwd:.*\n", ""),
    "short-ufrag": (r"^a=ice-ufrag:.*", "a=ice-ufrag:abc"),
    "pwd-grammar": (r"^a=ice-pwd:.*", "a=ice-pwd:" + 30 * "!"),
    "no-sections": (r"^m=audio [^`]*", ""),
    "no-fingerprint": (r"^a=fingerprint:.*\n", ""),
}


@pytest.mark.parametrize("name", INVALID)
async def test_invalid(network: Network, name: str) -> None:
    """
    An offer that cannot be parsed, or has no valid credentials, rolls nothing back: the
    answer to our offer is still welcome.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        pc = pair.offerer
        theirs = await offered(pair.answerer, iceRestart=True)
        pc.addTransceiver("video")
        pc.restartIce()
        await offered(pc)
        before, history = snapshot(pc), states(pc)
        with pytest.raises(ValueError):
            await pc.setRemoteDescription(edited(theirs, *INVALID[name]))
        await asyncio.sleep(SETTLING)
        assert snapshot(pc) == before
        assert history.signaling == ["have-local-offer"]
        assert history.negotiationneeded == 0
        await pair.answerer.setRemoteDescription(pc.localDescription)
        await pair.answerer.setLocalDescription()
        await pc.setRemoteDescription(pair.answerer.localDescription)
        await switched(pc, pair.answerer)
        await pair.exchange()


async def test_only_of_a_remote_offer(network: Network) -> None:
    """
    Our own offer does not roll theirs back, nor does an answer anything.
    """
    async with connected_pair(network) as pair:
        pc = pair.offerer
        ours = await pc.createOffer(iceRestart=True)
        await pc.setRemoteDescription(await offered(pair.answerer))
        before = snapshot(pc)
        with pytest.raises(InvalidStateError, match="Cannot handle offer"):
            await pc.setLocalDescription(ours)
        answer = sdp_edit(pair.answerer.localDescription)
        answer.type = "answer"
        with pytest.raises(InvalidStateError, match="Cannot handle answer"):
            await pc.setRemoteDescription(answer)
        assert snapshot(pc) == before
        # Without a description it is an answer.
        await finish(pair)


@pytest.mark.parametrize("remote", ["plain", "restart"])
async def test_glare_with_restarts(network: Network, remote: str) -> None:
    """
    Of two restarts that meet one is rolled back; what the next offer or answer carries
    are yet other credentials.
    """
    async with connected_pair(network) as pair:
        polite, impolite = pair.offerer, pair.answerer
        history = states(polite)
        first = polite.localDescription
        polite.restartIce()
        await asyncio.sleep(SETTLING)
        rolled_back = await offered(polite)
        theirs = await offered(impolite, iceRestart=remote == "restart")
        answer = await answered(polite, theirs)
        await impolite.setRemoteDescription(answer)
        await switched(polite, impolite)
        assert (ufrag_of(answer) == ufrag_of(first)) == (remote == "plain")
        assert set(credentials(answer)).isdisjoint(credentials(rolled_back))
        await asyncio.sleep(SETTLING)
        # A restart by the peer is a restart, too.
        assert history.negotiationneeded == (2 if remote == "plain" else 1)
        second = await polite.createOffer()
        assert (ufrag_of(second) == ufrag_of(answer)) == (remote == "restart")
        assert set(credentials(second)).isdisjoint(credentials(rolled_back))
        await polite.setLocalDescription(second)
        await polite.setRemoteDescription(
            await answered(impolite, polite.localDescription)
        )
        await switched(polite, impolite)
        assert paths(polite)[0][0] == ufrag_of(second)
        await pair.exchange()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == (2 if remote == "plain" else 1)
