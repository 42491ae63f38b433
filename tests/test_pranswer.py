"""
Provisional answers (RFC 9429 section 4.1.10.1): they may carry the call already.
"""

import asyncio

import pytest

from aiortc_restart import (
    AudioStreamTrack,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import (
    RETIREMENT,
    SETTLING,
    answered,
    edited,
    ice_transport,
    offered,
    paths,
    peers,
    provisional,
    restart,
    switched,
    ufrag_of,
)
from .media import flowing
from .network import Network
from .snapshots import nothing_changes, slots
from .utils import connected_pair, credentials, sdp_edit, states, until

OTHER = {"ufrag": "otherufrag", "pwd": "otherpasswordotherpassword"}


async def pranswered(
    offerer: RTCPeerConnection, answerer: RTCPeerConnection
) -> RTCSessionDescription:
    """
    Have an offer which is pending answered provisionally, on both sides.
    """
    if answerer.signalingState != "have-local-pranswer":
        await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription(provisional(await answerer.createAnswer()))
    await offerer.setRemoteDescription(answerer.localDescription)
    return answerer.localDescription


@pytest.mark.parametrize("times", [1, 2])
async def test_first(network: Network, times: int) -> None:
    """
    Media and data flow after a provisional answer, and the answer changes nothing.
    """
    async with peers(network) as (offerer, answerer):
        histories = [states(offerer), states(answerer)]
        received: list[object] = []
        channel = offerer.createDataChannel("test")
        answerer.on("datachannel", lambda x: x.on("message", received.append))
        for pc in (offerer, answerer):
            pc.addTrack(AudioStreamTrack())
        await offered(offerer)
        for _ in range(times):
            answer = await pranswered(offerer, answerer)
        assert answer.type == "pranswer"
        assert slots(offerer) == [None, None, "offer", "pranswer"]
        assert slots(answerer) == [None, None, "pranswer", "offer"]
        await until(lambda: channel.readyState == "open")
        channel.send("early")
        await until(lambda: received == ["early"])
        await flowing(offerer, answerer)
        before = paths(offerer, answerer)

        await answerer.setLocalDescription()
        assert credentials(answerer.localDescription) == credentials(answer)
        await offerer.setRemoteDescription(answerer.localDescription)
        assert slots(offerer) == ["offer", "answer", None, None]
        assert slots(answerer) == ["answer", "offer", None, None]
        await asyncio.sleep(SETTLING)
        assert paths(offerer, answerer) == before
        channel.send("late")
        await until(lambda: received == ["early", "late"])
        await flowing(offerer, answerer)
        for history, role in zip(histories, ("remote", "local"), strict=True):
            assert history.signaling[2:] == [f"have-{role}-pranswer", "stable"]
            assert history.ice == ["new", "checking", "completed"]
            assert history.connection == ["new", "connecting", "connected"]
        await restart(answerer, offerer)


async def test_only_here(network: Network) -> None:
    """
    Either side may take the answer of the other for provisional by itself.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        answer = await answered(answerer, await offered(offerer))
        await offerer.setRemoteDescription(provisional(answer))
        await until(lambda: offerer.connectionState == "connected")
        assert offerer.signalingState == "have-remote-pranswer"
        await offerer.setRemoteDescription(answer)
        assert offerer.signalingState == "stable"
        await restart(offerer, answerer)
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1


async def test_restart(network: Network) -> None:
    """
    A provisional answer to a restart restarts, once, and the answer does not.
    """
    async with connected_pair(network) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        before = paths(pair.offerer, pair.answerer)
        offer = await offered(pair.offerer, iceRestart=True)
        answer = await pranswered(pair.offerer, pair.answerer)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer) == [(ufrag_of(offer), ufrag_of(answer))]
        assert paths(pair.offerer, pair.answerer) != before
        await pair.exchange()
        connection = ice_transport(pair.offerer)._connection

        await pranswered(pair.offerer, pair.answerer)
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await asyncio.sleep(RETIREMENT)
        assert ice_transport(pair.offerer)._connection is connection
        assert paths(pair.offerer) == [(ufrag_of(offer), ufrag_of(answer))]
        assert network.sockets("alice") == network.sockets("bob") == 1
        await pair.exchange()
        for history in histories:
            assert history.ice == ["completed", "connected", "completed"]
            assert history.negotiationneeded == 0


async def test_does_not_satisfy(network: Network) -> None:
    """
    What was asked for with `restartIce()` is remembered until the answer.
    """
    # webrtc-pc #set-the-session-description: only an answer empties the slot.
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        pair.offerer.restartIce()
        await asyncio.sleep(SETTLING)
        await offered(pair.offerer)
        await pranswered(pair.offerer, pair.answerer)
        assert pair.offerer._session.credentials_to_replace
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        assert not pair.offerer._session.credentials_to_replace
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


@pytest.mark.parametrize("kind", ["pranswer", "answer"])
async def test_other_credentials(network: Network, kind: str) -> None:
    """
    A later answer with other credentials is refused: the call goes on as it is.
    """
    async with connected_pair(network) as pair:
        await offered(pair.offerer, iceRestart=True)
        answer = await pranswered(pair.offerer, pair.answerer)
        await switched(pair.offerer, pair.answerer)
        other = sdp_edit(RTCSessionDescription(sdp=answer.sdp, type=kind), **OTHER)
        with nothing_changes(pair.offerer), pytest.raises(ValueError, match="restarts"):
            await pair.offerer.setRemoteDescription(other)
        with nothing_changes(pair.answerer), pytest.raises(ValueError, match="Cannot"):
            await pair.answerer.setLocalDescription(other)
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await pair.exchange()
        await restart(pair.answerer, pair.offerer)


async def test_unchanged_credentials(network: Network) -> None:
    """
    A provisional answer with the old credentials is no answer to a restart.
    """
    async with connected_pair(network) as pair:
        (ufrag, pwd), *_ = credentials(pair.offerer.remoteDescription)
        offer = await offered(pair.offerer, iceRestart=True)
        answer = await answered(pair.answerer, offer)
        bad = sdp_edit(provisional(answer), ufrag=ufrag, pwd=pwd)
        with nothing_changes(pair.offerer), pytest.raises(ValueError, match="does not"):
            await pair.offerer.setRemoteDescription(bad)
        await pair.offerer.setRemoteDescription(provisional(answer))
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        await pair.exchange()


async def test_new_media(network: Network) -> None:
    """
    A track which a provisional answer brings is announced once, and flows.
    """
    async with connected_pair(network) as pair:
        tracks: dict[str, list[object]] = {"offerer": [], "answerer": []}
        for name, pc in (("offerer", pair.offerer), ("answerer", pair.answerer)):
            pc.addTrack(AudioStreamTrack())
            pc.on("track", tracks[name].append)
        await offered(pair.offerer)
        await pranswered(pair.offerer, pair.answerer)
        await flowing(pair.offerer, pair.answerer)
        await pranswered(pair.offerer, pair.answerer)
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await flowing(pair.offerer, pair.answerer)
        assert [len(x) for x in tracks.values()] == [1, 1]
        directions = [
            x.currentDirection
            for pc in (pair.offerer, pair.answerer)
            for x in pc.getTransceivers()
        ]
        assert directions == ["sendrecv", "sendrecv"]


async def test_accepted_after_all(network: Network) -> None:
    """
    What a provisional answer rejects may be accepted by the answer.
    """
    async with peers(network) as (offerer, answerer):
        for kind in ("audio", "video"):
            offerer.addTransceiver(kind, "sendonly")
        await answerer.setRemoteDescription(await offered(offerer))
        good = await answerer.createAnswer()
        bad = edited(good, r"^m=video \d+", "m=video 0")
        bad = provisional(edited(bad, "BUNDLE 0 1", "BUNDLE 0"))
        await answerer.setLocalDescription(bad)
        await offerer.setRemoteDescription(answerer.localDescription)
        again = await answerer.createAnswer()
        await answerer.setLocalDescription(again)
        await offerer.setRemoteDescription(answerer.localDescription)
        for pc in (offerer, answerer):
            assert not any(x.stopped for x in pc.getTransceivers())
        directions = [x.currentDirection for x in offerer.getTransceivers()]
        assert directions == ["sendonly", "sendonly"]
        await switched(offerer, answerer)
