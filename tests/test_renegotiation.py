"""
Negotiations which do not restart ICE: the ground that restarts stand on.
"""

import asyncio

import pytest
from aiortc import RTCSessionDescription
from aiortc.rtp import RtcpByePacket

from aiortc_restart import AudioStreamTrack, MediaStreamError, RTCPeerConnection

from .browser import Browser, Session
from .calls import (
    SETTLING,
    Unbundled,
    answered,
    edited,
    ice_transports,
    offered,
    paths,
    peers,
    sections,
    switched,
)
from .media import Pictures, add_media, flowing, packets_lost
from .network import Network
from .utils import (
    LIMIT,
    candidates,
    connected_pair,
    credentials,
    event,
    negotiate,
    states,
)


def origin(description: RTCSessionDescription) -> tuple[str, int]:
    """
    Return the session id and the session version of a description.
    """
    (line,) = (x for x in description.sdp.splitlines() if x.startswith("o="))
    username, session, version, *address = line.removeprefix("o=").split()
    assert [username, *address] == ["-", "IN", "IP4", "0.0.0.0"]
    return session, int(version)


def generations(*pcs: RTCPeerConnection) -> list[object]:
    return [y for pc in pcs for x in ice_transports(pc) for y in x.generations]


@pytest.mark.parametrize("bundled", [True, False], ids=["bundled", "unbundled"])
@pytest.mark.parametrize("again", [False, True], ids=["caller", "callee"])
async def test_plain(network: Network, again: bool, bundled: bool) -> None:
    """
    A plain offer, by either side, changes nothing of ICE and loses nothing.
    """
    # RFC 9429 sections 5.2.2 and 5.10
    kind = RTCPeerConnection if bundled else Unbundled
    async with peers(network, offerer=kind) as (offerer, answerer):
        both = [offerer, answerer]
        add_media(*both)
        await negotiate(*both)
        await flowing(*both)
        # What has been bundled is described as such from now on.
        await negotiate(*both)
        histories = [states(x) for x in both]
        before = [paths(x) for x in both]
        said = [credentials(x.localDescription) for x in both]
        found = [candidates(x.localDescription) for x in both]
        alive = generations(*both)
        for _ in range(3):
            await negotiate(*(reversed(both) if again else both))
            await flowing(*both)
            assert [credentials(x.localDescription) for x in both] == said
            assert [candidates(x.localDescription) for x in both] == found
        assert [paths(x) for x in both] == before
        assert generations(*both) == alive
        count = 1 if bundled else 2
        assert network.sockets("alice") == network.sockets("bob") == count
        for pc, history in zip(both, histories, strict=True):
            assert history.ice == ["completed"]
            assert history.connection == ["connected"]
            assert history.gathering == ["complete"]
            assert history.negotiationneeded == 0
            assert [await packets_lost(x) for x in pc.getReceivers()] == [0, 0]


@pytest.mark.parametrize("first", ["browser", "ours"])
async def test_mids_order_bundle(network: Network, first: str) -> None:
    """
    A re-offer keeps the m-lines' order, the mids and the bundle, and adds at the end.
    """
    # RFC 9429 section 5.2.2
    async with peers(network, offerer=Browser) as (browser, pc):
        both = [browser, pc]
        if first == "ours":
            both.reverse()
        both[0].createDataChannel("test")
        both[0].addTransceiver("video")
        both[0].addTransceiver("audio")
        session = Session()
        session.add(*await negotiate(*both))
        await switched(*both)
        for x in (both[1], both[0], both[1]):
            x.addTransceiver("audio")
            offer = await x.createOffer()
            session.add(offer)
            mids = [y.rtp.muxId for y in sections(offer)]
            assert [y.kind for y in sections(offer)[:3]] == [
                "video",
                "audio",
                "application",
            ]
            assert f"a=group:BUNDLE {' '.join(mids)}\r\n" in offer.sdp
            assert len(set(mids)) == len(mids)
            (other,) = {*both} - {x}
            session.add(*await negotiate(x, other))
            assert len(ice_transports(x)) == len(ice_transports(other)) == 1


async def test_foreign_mids(network: Network) -> None:
    """
    The mids of a peer's offer may be any tokens, and stay.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        offerer.createDataChannel("test")
        offer = await offerer.createOffer()
        for pattern, mid in (
            ("^a=mid:0", "a=mid:sound-1"),
            ("^a=mid:1", "a=mid:data"),
            ("BUNDLE 0 1", "BUNDLE sound-1 data"),
        ):
            offer = edited(offer, pattern, mid)
        await offerer.setLocalDescription(offer)
        answer = await answered(answerer, offerer.localDescription)
        await offerer.setRemoteDescription(answer)
        await switched(offerer, answerer)
        answerer.addTransceiver("video")
        answerer.addTransceiver("audio")
        offer = await answerer.createOffer(iceRestart=True)
        mids = [x.rtp.muxId for x in sections(offer)]
        assert mids[:2] == ["sound-1", "data"]
        assert len(set(mids)) == 4
        await negotiate(answerer, offerer, iceRestart=True)
        await switched(answerer, offerer)


async def test_origin(network: Network) -> None:
    """
    All descriptions of a peer are of one session, each of a later version.
    """
    # RFC 9429 section 5.2.2
    async with connected_pair(network) as pair:
        both = [pair.offerer, pair.answerer]
        seen = {x: [origin(x.localDescription)] for x in both}
        for restarts in (False, True, False):
            for _ in range(2):
                await negotiate(both[0], both[1], iceRestart=restarts)
                for x in both:
                    seen[x].append(origin(x.localDescription))
                both.reverse()
        # All of it took less than a second, and twelve descriptions.
        assert network.now < 1
        for origins in seen.values():
            assert len({session for session, _ in origins}) == 1
            versions = [version for _, version in origins]
            assert versions == [*range(versions[0], versions[0] + 7)]
        assert len({origins[0][0] for origins in seen.values()}) == 2


async def test_origin_of_unused_descriptions(network: Network) -> None:
    """
    Two descriptions which differ never have the same version.
    """
    async with connected_pair(network) as pair:
        offers = [
            await pair.offerer.createOffer(iceRestart=True),
            await pair.offerer.createOffer(),
            await pair.offerer.createOffer(iceRestart=True),
        ]
        versions = [origin(x)[1] for x in (pair.offerer.localDescription, *offers)]
        assert sorted(set(versions)) == versions


async def test_more_candidates(network: Network) -> None:
    """
    A plain re-offer may add candidates to those which were there.
    """
    # RFC 9429 section 5.10
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        offer = edited(await offered(offerer), "^a=end-of-candidates\r\n", "")
        answer = await answered(answerer, offer)
        await offerer.setRemoteDescription(answer)
        await switched(offerer, answerer)
        before = paths(answerer)
        offer = edited(
            await offered(offerer),
            "^(a=candidate:.*) 10.0.1.1 (.*\r\n)a=end-of-candidates\r\n",
            r"\1 10.0.1.1 \2\1 10.0.3.1 \2",
        )
        assert len(candidates(offer)) == 2
        await offerer.setRemoteDescription(await answered(answerer, offer))
        found = [x.ip for x in ice_transports(answerer)[0].getRemoteCandidates()]
        assert found == ["10.0.1.1", "10.0.3.1"]
        await asyncio.sleep(SETTLING)
        assert paths(answerer) == before
        assert network.sockets("bob") == 1


async def test_callee_adds_track(network: Network) -> None:
    """
    A callee may add a track, and its frames arrive.
    """
    async with peers(network, offerer=Browser) as (browser, pc):
        browser.addTrack(AudioStreamTrack())
        await negotiate(browser, pc)
        await flowing(pc)
        waiting = asyncio.ensure_future(event(browser, "track"))
        pc.addTrack(Pictures())
        await negotiate(pc, browser)
        await waiting
        assert len(browser.getReceivers()) == 2
        await flowing(browser, pc)


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("again", [False, True], ids=["caller", "callee"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_dtls_role(
    network: Network, setup: str, again: bool, restarts: bool
) -> None:
    """
    An association keeps its roles, whatever a re-offer says of them.
    """
    # RFC 8842 section 5.5
    async with connected_pair(network) as pair:
        offerer, answerer = pair.offerer, pair.answerer
        if again:
            offerer, answerer = answerer, offerer
        before = [roles(x) for x in (offerer, answerer)]
        offer = await offered(offerer, iceRestart=restarts)
        answer = await answered(
            answerer, edited(offer, "^a=setup:actpass", f"a=setup:{setup}")
        )
        role = {"client": "active", "server": "passive"}[before[1][0]]
        assert f"a=setup:{role}\r\n" in answer.sdp
        await offerer.setRemoteDescription(answer)
        await switched(offerer, answerer)
        assert [roles(x) for x in (offerer, answerer)] == before
        await pair.exchange()
        # The next answer says the same.
        _, answer = await negotiate(answerer, offerer)
        role = {"client": "active", "server": "passive"}[before[0][0]]
        assert f"a=setup:{role}\r\n" in answer.sdp
        await pair.exchange()


def roles(pc: RTCPeerConnection) -> list[str]:
    return [x._role for x in pc._slots.dtls_transports]


async def test_bye(network: Network) -> None:
    """
    A BYE, which some send when they make a stream anew, does not end a track.
    """
    # webrtc-pc #mediastreamtrack-network-use
    async with peers(network) as both:
        add_media(*both)
        await negotiate(*both)
        await flowing(*both)
        ended: list[str] = []
        for receiver in both[1].getReceivers():
            receiver.track.on("ended", lambda: ended.append("ended"))
        for sender in both[0].getSenders():
            packet = RtcpByePacket(sources=[sender._ssrc])
            await sender.transport._send_rtp(bytes(packet))
        await asyncio.sleep(SETTLING)
        await flowing(*both)
        assert ended == []
        assert {x.track.readyState for x in both[1].getReceivers()} == {"live"}

        # The end of the connection does.
        await both[0].close()
        for receiver in both[1].getReceivers():
            with pytest.raises(MediaStreamError):
                async with asyncio.timeout(LIMIT):
                    while True:
                        await receiver.track.recv()
        assert ended == ["ended", "ended"]


async def test_direction(network: Network) -> None:
    """
    A direction which changes in a re-offer is followed, with and without a restart.
    """
    async with peers(network) as both:
        add_media(*both)
        await negotiate(*both)
        await switched(*both)
        for restarts in (False, True):
            for direction, reverse in (
                ("sendonly", "recvonly"),
                ("sendrecv", "sendrecv"),
            ):
                for transceiver in both[0].getTransceivers():
                    transceiver.direction = direction
                await negotiate(*both, iceRestart=restarts)
                await switched(*both)
                for pc, expected in zip(both, (direction, reverse), strict=True):
                    for x in pc.getTransceivers():
                        assert x.currentDirection == expected
        await flowing(*both)
