"""
Restarts which we offer.
"""

import asyncio
import string
from collections.abc import Awaitable, Callable
from typing import Any

import aioice.stun
import pytest
from aiortc import RTCSessionDescription

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from .calls import (
    RETIREMENT,
    SETTLING,
    answered,
    ice_transport,
    ice_transports,
    offered,
    paths,
    peers,
    restart,
    sections,
    switched,
    ufrag_of,
)
from .network import Network
from .snapshots import snapshot
from .utils import (
    Pair,
    candidates,
    connected_pair,
    credentials,
    event,
    negotiate,
    states,
    until,
)

ICE_CHARS = set(string.ascii_letters + string.digits + "+/")


def add_media(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTransceiver("audio")
    offerer.addTransceiver("video")
    answerer.addTransceiver("audio")


def inside(pc: RTCPeerConnection) -> dict[str, Any]:
    """
    Return all of a peer that an offer might change and must not.
    """
    return {
        "descriptions": [pc.localDescription.sdp, pc.remoteDescription.sdp],
        "states": [pc.signalingState, pc.iceGatheringState, pc.iceConnectionState],
        "credentials": [
            (x.local_parameters, x.iceGatherer.getLocalParameters())
            for x in ice_transports(pc)
        ],
        "candidates": [x.iceGatherer.getLocalCandidates() for x in ice_transports(pc)],
        "generations": [x.generations for x in ice_transports(pc)],
        "codecs": [list(x._codecs) for x in pc.getTransceivers()],
        "extensions": [list(x._headerExtensions) for x in pc.getTransceivers()],
        "mids": [(x.mid, x._get_mline_index()) for x in pc.getTransceivers()],
        "connections": [x._connection for x in ice_transports(pc)],
        "paths": paths(pc),
        "tasks": asyncio.all_tasks(),
    }


async def by_call(pc: RTCPeerConnection) -> RTCSessionDescription:
    pc.restartIce()
    return await pc.createOffer()


async def by_call_implicitly(pc: RTCPeerConnection) -> RTCSessionDescription | None:
    pc.restartIce()
    return None


async def by_option(pc: RTCPeerConnection) -> RTCSessionDescription:
    return await pc.createOffer(iceRestart=True)


@pytest.mark.parametrize("make", [by_call, by_call_implicitly, by_option])
@pytest.mark.parametrize("again", [False, True], ids=["offerer", "answerer"])
async def test_restart(
    network: Network,
    make: Callable[[RTCPeerConnection], Awaitable[RTCSessionDescription | None]],
    again: bool,
) -> None:
    """
    An offer with new credentials, applied here and answered there, restarts both sides.
    """
    # RFC 8445 section 9, RFC 9429 sections 5.9 and 5.10
    async with connected_pair(network, prepare=add_media) as pair:
        offerer, answerer = pair.offerer, pair.answerer
        if again:
            # Whoever offered first, either side may restart.
            offerer, answerer = answerer, offerer
        histories = [states(offerer), states(answerer)]
        before = paths(offerer, answerer)

        offer = await make(offerer)
        if offer is not None:
            assert candidates(offer) == []
        await offerer.setLocalDescription(offer)
        answer = await answered(answerer, offerer.localDescription)
        await offerer.setRemoteDescription(answer)
        await switched(offerer, answerer)
        await pair.exchange()

        # Both fields are new on both sides.
        assert set(paths(offerer, answerer)[0]).isdisjoint(before[0])
        for history in histories:
            assert history.ice == ["completed", "connected", "completed"]
            assert history.gathering == ["complete", "gathering", "complete"]
            assert history.connection == ["connected"]
        assert histories[0].signaling == ["stable", "have-local-offer", "stable"]
        assert histories[1].signaling == ["stable", "have-remote-offer", "stable"]

        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1
        await pair.exchange()


async def test_restart_objects(network: Network) -> None:
    """
    All objects are the same before and after, and the DTLS association goes on.
    """

    # webrtc-pc #dom-rtcicetransport, RFC 9429 section 5.11
    def objects(pc: RTCPeerConnection) -> list[object]:
        assert pc.sctp is not None
        found: list[object] = [pc.sctp, pc.sctp.transport, pc.sctp.transport._ssl]
        for transceiver in pc.getTransceivers():
            sender, receiver = transceiver.sender, transceiver.receiver
            found += [transceiver, sender, sender.track, sender._ssrc, receiver]
            found += [receiver.track, sender.transport, receiver.transport]
        for transport in ice_transports(pc):
            found += [transport, transport.iceGatherer, transport.role]
        return found

    async with connected_pair(network, prepare=add_media) as pair:
        before = [objects(pair.offerer), objects(pair.answerer)]
        handshakes: list[float] = []
        # 22 is the content type of a handshake (RFC 6347 section 4.1).
        network.tap(
            lambda x: handshakes.append(x.time) if x.data[:1] == b"\x16" else None
        )
        for _ in range(2):
            await restart(pair.offerer, pair.answerer)
            await restart(pair.answerer, pair.offerer)
        assert [objects(pair.offerer), objects(pair.answerer)] == before
        assert handshakes == []
        assert pair.channel.readyState == "open"


async def test_restart_credentials(network: Network) -> None:
    """
    Credentials are as long as their randomness needs, and are not used again.
    """
    # RFC 8445 section 5.3, RFC 8839 section 5.4
    async with connected_pair(network, prepare=add_media) as pair:
        seen: list[tuple[str, str]] = []
        for _ in range(3):
            for description in await negotiate(
                pair.offerer, pair.answerer, iceRestart=True
            ):
                shared = set(credentials(description))
                assert len(shared) == 1
                seen += shared
        usernames, passwords = zip(*seen, strict=True)
        assert len(set(usernames)) == len(set(passwords)) == 6
        for username, password in seen:
            assert len(username) == 8
            assert len(password) == 24
            assert set(username + password) <= ICE_CHARS


@pytest.mark.parametrize("asked", [False, True], ids=["option", "restartIce"])
async def test_create_offer_changes_nothing(network: Network, asked: bool) -> None:
    """
    Offers which restart ICE may be made and thrown away: nothing changes.
    """
    # RFC 9429 section 4.1.8
    async with connected_pair(network, prepare=add_media) as pair:
        pc = pair.offerer
        if asked:
            pc.restartIce()
            await asyncio.sleep(SETTLING)
        before = inside(pc)
        sent = len(network.log)
        offers = [await pc.createOffer(iceRestart=not asked) for _ in range(5)]
        assert inside(pc) == before
        assert len(network.log) == sent
        assert network.sockets("alice") == 1

        # Each has credentials of its own, and no candidates.
        found = [credentials(x) for x in (*offers, pc.localDescription)]
        assert len({username for x in found for username, _ in x}) == 6
        assert len({password for x in found for _, password in x}) == 6
        assert [candidates(x) for x in offers] == [[]] * 5

        # The call knows nothing of it, also when the peer offers next.
        history = states(pc)
        await negotiate(pair.answerer, pc)
        await asyncio.sleep(SETTLING)
        assert paths(pc) == before["paths"]
        assert history.ice == ["completed"]
        await pair.exchange()
        await restart(pair.offerer, pair.answerer)


async def test_create_offer_adds_no_data_channels(network: Network) -> None:
    """
    An offer which has a section for data channels, because there always is to be one,
    adds nothing until it is applied, and the transport is made once.
    """
    configuration = RTCConfiguration(iceServers=[], alwaysNegotiateDataChannels=True)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        offerer.addTransceiver("audio")
        before = snapshot(offerer)
        made = []
        for _ in range(3):
            offer = await offerer.createOffer()
            assert "m=application" in offer.sdp
            assert offerer.sctp is None
            made.append(snapshot(offerer)["made"])
        assert made == [made[0]] * 3
        assert {**snapshot(offerer), "made": before["made"]} == before
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        channel = offerer.createDataChannel("test")
        await until(lambda: channel.readyState == "open")


async def test_create_offer_places_nothing(network: Network) -> None:
    """
    An offer with a new section gives it neither a place nor numbers.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        pair.offerer.addTransceiver("video", direction="sendonly")
        before = inside(pair.offerer)
        offer = await pair.offerer.createOffer(iceRestart=True)
        assert len(sections(offer)) == 4
        assert inside(pair.offerer) == before


async def test_create_offer_applied_later(network: Network) -> None:
    """
    Of several offers any may be applied: its credentials are those of the restart.
    """
    async with connected_pair(network) as pair:
        first = await pair.offerer.createOffer(iceRestart=True)
        await pair.offerer.createOffer(iceRestart=True)
        await pair.offerer.createOffer()
        await pair.offerer.setLocalDescription(first)
        assert credentials(pair.offerer.localDescription) == credentials(first)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer)[0][0] == ufrag_of(first)


async def test_create_offer_initial(network: Network) -> None:
    """
    On an initial offer the option has no effect.
    """
    # RFC 9429 section 5.2.3.1
    pc = network.at("alice", RTCPeerConnection)()
    pc.addTransceiver("audio")
    gatherer = ice_transports(pc)[0].iceGatherer
    expected = gatherer.getLocalParameters().usernameFragment
    for options in ({}, {"iceRestart": True}, {"iceRestart": True}):
        offer = await pc.createOffer(**options)
        assert [x for x, _ in credentials(offer)] == [expected]
    await pc.close()


async def test_initial_offer_connects(network: Network) -> None:
    """
    A first offer made with the option, or after `restartIce()`, connects as any other.
    """

    def ask(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
        offerer.restartIce()
        answerer.restartIce()

    class Eager(RTCPeerConnection):
        async def createOffer(self, iceRestart: bool = False) -> RTCSessionDescription:
            return await super().createOffer(iceRestart=True)

    async with connected_pair(network, offerer=Eager, prepare=ask) as pair:
        assert len(ice_transport(pair.offerer).generations) == 1
        await restart(pair.offerer, pair.answerer)


async def test_candidates(network: Network) -> None:
    """
    The applied offer holds the new generation's candidates, and no others.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        old = {x.port for x in candidates(pair.offerer.localDescription)}
        offer = await offered(pair.offerer, iceRestart=True)
        found = {x.port for x in candidates(offer)}
        assert len(found) == 1
        assert found.isdisjoint(old)
        assert [x.ice_candidates_complete for x in sections(offer)] == [True] * 3


@pytest.mark.parametrize("swap", [False, True], ids=["one-side", "alternating"])
async def test_one_generation_a_round(network: Network, swap: bool) -> None:
    """
    The new credentials in an answer restart nothing: one generation a round and side.
    """
    async with connected_pair(network) as pair:
        peers = [pair.offerer, pair.answerer]
        history = states(pair.offerer)
        for _ in range(3):
            await restart(*peers)
            if swap:
                peers.reverse()
        await asyncio.sleep(60)
        checked = {
            x.message.attributes["USERNAME"]
            for x in network.log
            if x.message is not None
            and x.message.message_class is aioice.stun.Class.REQUEST
        }
        # Four generations, each checked from both sides.
        assert len(checked) == 8
        assert history.negotiationneeded == 0
        assert network.sockets("alice") == network.sockets("bob") == 1


async def add_channel(pair: Pair) -> None:
    channel = pair.offerer.createDataChannel("added")
    waiting = asyncio.ensure_future(event(pair.answerer, "datachannel"))
    await event(channel, "open")
    (remote,) = await waiting
    assert remote.label == "added"


@pytest.mark.parametrize("when", ["before", "offered", "answered", "applied"])
async def test_data_channel_during_restart(network: Network, when: str) -> None:
    """
    A data channel may be opened at any time of a restart.
    """
    async with connected_pair(network) as pair:
        pair.offerer.restartIce()
        added = []
        for step in ("before", "offered", "answered", "applied"):
            if step == "offered":
                offer = await offered(pair.offerer)
            elif step == "answered":
                answer = await answered(pair.answerer, offer)
            elif step == "applied":
                await pair.offerer.setRemoteDescription(answer)
            if step == when:
                added.append(asyncio.ensure_future(add_channel(pair)))
                await asyncio.sleep(0)
        await switched(pair.offerer, pair.answerer)
        await asyncio.gather(*added)
        await pair.exchange()
