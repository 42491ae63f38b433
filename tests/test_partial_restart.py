"""
Restarts of some of the transports of a connection whose media are not bundled.
"""

import asyncio

import pytest

from aiortc_restart import RTCPeerConnection, RTCSessionDescription

from .calls import (
    RETIREMENT,
    SETTLING,
    Unbundled,
    answered,
    ice_transports,
    paths,
    restart,
    switched,
)
from .network import Network
from .utils import (
    candidates,
    connected_pair,
    credentials,
    negotiate,
    sdp_edit,
    states,
)

NEW = {"ufrag": "newufrag", "pwd": "newpasswordnewpasswordnew"}


def add_media(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTransceiver("audio")
    offerer.addTransceiver("video")
    answerer.addTransceiver("audio")


async def test_unbundled(network: Network) -> None:
    """
    Media which are not bundled have a transport each, and all of them restart.
    """
    async with connected_pair(network, offerer=Unbundled, prepare=add_media) as pair:
        assert len(ice_transports(pair.offerer)) == 3
        assert len(ice_transports(pair.answerer)) == 3
        for _ in range(2):
            await restart(pair.offerer, pair.answerer)
            await restart(pair.answerer, pair.offerer)
        await pair.exchange()
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 3


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("again", [False, True], ids=["offerer", "answerer"])
async def test_partial(network: Network, count: int, again: bool) -> None:
    """
    Only the sections whose credentials have changed restart, on both sides.
    """
    # RFC 9429 section 5.10
    async with connected_pair(network, offerer=Unbundled, prepare=add_media) as pair:
        offerer, answerer = pair.offerer, pair.answerer
        if again:
            offerer, answerer = answerer, offerer
        old = [paths(offerer), paths(answerer)]
        connections = [x._connection for x in ice_transports(offerer)]
        found = candidates(offerer.localDescription)
        said = credentials(answerer.localDescription)

        mids = ["0", "2"][:count]
        offer = sdp_edit(await offerer.createOffer(), **NEW, mids=mids)
        await offerer.setLocalDescription(offer)
        assert network.sockets("alice") + network.sockets("bob") == 6 + count
        now = candidates(offerer.localDescription)
        for a, b in zip(now, found, strict=True):
            assert (a.port == b.port) == (a.sdpMid not in mids)

        answer = await answered(answerer, offerer.localDescription)
        for i, (new, before) in enumerate(zip(credentials(answer), said, strict=True)):
            assert (new == before) == (str(i) not in mids)
        await offerer.setRemoteDescription(answer)
        await switched(offerer, answerer)
        for pc, expected in zip((offerer, answerer), old, strict=True):
            for i, new_path in enumerate(paths(pc)):
                assert (new_path == expected[i]) == (str(i) not in mids)
        for i, transport in enumerate(ice_transports(offerer)):
            assert (transport._connection is connections[i]) == (str(i) not in mids)

        await pair.exchange()
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 3
        await restart(answerer, offerer)
        await pair.exchange()


async def test_partial_then_another(network: Network) -> None:
    """
    While a section's restart is unanswered, another offer may restart another section.
    """
    async with connected_pair(network, offerer=Unbundled, prepare=add_media) as pair:
        old = paths(pair.offerer)
        plain = await pair.offerer.createOffer()
        await pair.offerer.setLocalDescription(sdp_edit(plain, **NEW, mids=["0"]))
        await pair.answerer.setRemoteDescription(pair.offerer.localDescription)
        await pair.offerer.setLocalDescription(sdp_edit(plain, **NEW, mids=["1"]))
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        new = paths(pair.offerer)
        assert [a == b for a, b in zip(old, new, strict=True)] == [True, False, True]
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 3


async def test_new_section(network: Network) -> None:
    """
    A section which is new in a restart has a transport whose role is known at once.
    """
    async with connected_pair(
        network, offerer=Unbundled, prepare=lambda a, _: a.addTransceiver("audio")
    ) as pair:
        pair.offerer.addTransceiver("video")
        await pair.offerer.setLocalDescription(
            await pair.offerer.createOffer(iceRestart=True)
        )
        offer = pair.offerer.localDescription
        # The peer's checks may come before its answer.
        for transport in ice_transports(pair.offerer):
            assert transport.role == "controlling"
            for generation in transport.generations:
                assert generation.connection.ice_controlling
        await pair.offerer.setRemoteDescription(await answered(pair.answerer, offer))
        await switched(pair.offerer, pair.answerer)
        roles = [x.role for x in ice_transports(pair.offerer)]
        assert roles == ["controlling"] * 3


async def test_restart_ice_not_satisfied(network: Network) -> None:
    """
    A restart of some sections does not satisfy `restartIce()`, which is for all.
    """
    # webrtc-pc #dom-rtcpeerconnection-restartice
    async with connected_pair(network, offerer=Unbundled, prepare=add_media) as pair:
        history = states(pair.offerer)
        offer = sdp_edit(await pair.offerer.createOffer(), **NEW, mids=["1"])
        pair.offerer.restartIce()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await pair.offerer.setLocalDescription(offer)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert history.negotiationneeded == 2
        old = paths(pair.offerer)
        await negotiate(pair.offerer, pair.answerer)
        await switched(pair.offerer, pair.answerer)
        assert all(
            set(a).isdisjoint(b) for a, b in zip(old, paths(pair.offerer), strict=True)
        )
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 2


async def test_bundle_stays_away(network: Network) -> None:
    """
    An answer bundles nothing that the offer did not, so that sections stay apart.
    """

    # RFC 9143 section 7.3
    def bundles(description: RTCSessionDescription) -> bool:
        return "a=group:BUNDLE" in description.sdp

    async with connected_pair(network, offerer=Unbundled, prepare=add_media) as pair:
        assert not bundles(pair.offerer.localDescription)
        assert not bundles(pair.answerer.localDescription)
        # Nor does a later offer, by either side.
        for pc in (pair.offerer, pair.answerer):
            assert not bundles(await pc.createOffer())
            assert not bundles(await pc.createOffer(iceRestart=True))
        before = paths(pair.offerer, pair.answerer)
        await negotiate(pair.answerer, pair.offerer)
        await asyncio.sleep(SETTLING)
        assert paths(pair.offerer, pair.answerer) == before
