"""
How long `restartIce()` is remembered: through whatever comes before an answer has
brought new credentials for all that it was asked for (webrtc-pc
#dom-rtcpeerconnection-restartice).
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aiortc_restart import RTCPeerConnection, RTCSessionDescription

from .calls import (
    SETTLING,
    Unbundled,
    edited,
    ice_transports,
    offered,
    paths,
    peers,
    switched,
)
from .network import Network
from .utils import (
    History,
    connected_pair,
    credentials,
    negotiate,
    sdp_edit,
    states,
    until,
)

ROLLBACK = RTCSessionDescription(sdp="", type="rollback")

NEW = {"ufrag": "newufrag", "pwd": "newpasswordnewpasswordnew"}

Negotiate = Callable[[RTCPeerConnection, RTCPeerConnection], Awaitable[None]]


async def explicit(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await negotiate(offerer, answerer)


async def implicit(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await offerer.setLocalDescription()
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription()
    await offerer.setRemoteDescription(answerer.localDescription)


both_forms = pytest.mark.parametrize("form", [explicit, implicit])


def add_media(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTransceiver("audio")
    offerer.addTransceiver("video")


async def fired(history: History, count: int) -> None:
    """
    Assert that the event has been fired so often, and that it stays at that.
    """
    await asyncio.sleep(SETTLING)
    assert history.negotiationneeded == count


async def satisfied(pc: RTCPeerConnection, peer: RTCPeerConnection) -> None:
    """
    Assert that nothing is remembered any more: the next offer restarts nothing.
    """
    said = credentials(pc.localDescription)
    assert credentials(await pc.createOffer()) == said
    await switched(pc, peer)
    for (ours, _), (ufrag, _) in zip(paths(pc), said, strict=False):
        assert ours == ufrag


@both_forms
async def test_all_is_replaced(network: Network, form: Negotiate) -> None:
    """
    One negotiation by this side replaces all credentials, on both sides, and retains
    the transports: ICE's, DTLS's and their states.
    """
    # RFC 9429 section 5.11
    async with connected_pair(network, offerer=Unbundled, prepare=add_media) as pair:
        pc, peer = pair.offerer, pair.answerer
        histories = [states(pc), states(peer)]
        transports = [ice_transports(x) for x in (pc, peer)]
        dtls = [[x.sender.transport for x in y.getTransceivers()] for y in (pc, peer)]
        encrypted = [x.sctp and x.sctp.transport._ssl for x in (pc, peer)]
        before = [
            *credentials(pc.localDescription),
            *credentials(peer.localDescription),
        ]
        pc.restartIce()
        await fired(histories[0], 1)
        await form(pc, peer)
        await satisfied(pc, peer)
        after = [y for x in (pc, peer) for y in credentials(x.localDescription)]
        assert {x for y in before for x in y}.isdisjoint(x for y in after for x in y)
        assert transports == [ice_transports(x) for x in (pc, peer)]
        assert dtls == [
            [x.sender.transport for x in y.getTransceivers()] for y in (pc, peer)
        ]
        assert encrypted == [x.sctp and x.sctp.transport._ssl for x in (pc, peer)]
        for history in histories:
            assert history.connection == ["connected"]
        await pair.exchange()
        await fired(histories[0], 1)
        await fired(histories[1], 0)


@both_forms
async def test_first_have_local_offer(network: Network, form: Negotiate) -> None:
    """
    The first offer's credentials are ones to replace, also if it is rolled back.
    """
    async with peers(network) as (pc, peer):
        history = states(pc)
        pc.createDataChannel("test")
        await fired(history, 1)
        first = await offered(pc)
        pc.restartIce()
        await fired(history, 1)
        await pc.setLocalDescription(ROLLBACK)
        await fired(history, 2)
        await form(pc, peer)
        await satisfied(pc, peer)
        assert set(credentials(pc.localDescription)).isdisjoint(credentials(first))
        await until(lambda: pc.connectionState == "connected")
        await fired(history, 2)


@both_forms
async def test_first_have_remote_offer(network: Network, form: Negotiate) -> None:
    """
    Before the first answer there are no credentials to replace, and nothing is
    remembered.
    """
    async with peers(network) as (peer, pc):
        history = states(pc)
        peer.createDataChannel("test")
        await pc.setRemoteDescription(await offered(peer))
        pc.restartIce()
        await pc.setLocalDescription()
        await peer.setRemoteDescription(pc.localDescription)
        await fired(history, 0)
        before = paths(pc)
        await form(pc, peer)
        await satisfied(pc, peer)
        assert paths(pc) == before


@both_forms
@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_survives_a_remote_offer(
    network: Network, form: Negotiate, when: str
) -> None:
    """
    An offer of the peer's which restarts nothing, and its answer, leave it as it is.
    """
    async with connected_pair(network) as pair:
        pc, peer = pair.answerer, pair.offerer
        history, before = states(pc), paths(pc)
        if when == "before":
            pc.restartIce()
            await fired(history, 1)
        await pc.setRemoteDescription(await offered(peer))
        pc.restartIce()
        await pc.setLocalDescription()
        await peer.setRemoteDescription(pc.localDescription)
        await fired(history, 2 if when == "before" else 1)
        assert paths(pc) == before
        await form(pc, peer)
        await satisfied(pc, peer)
        assert paths(pc) != before
        await fired(history, 2 if when == "before" else 1)


@both_forms
async def test_satisfied_by_a_remote_restart(network: Network, form: Negotiate) -> None:
    """
    A restart that the peer offers and we answer is the one.
    """
    async with connected_pair(network, offerer=Unbundled, prepare=add_media) as pair:
        for pc, peer in ((pair.offerer, pair.answerer), (pair.answerer, pair.offerer)):
            history = states(pc)
            pc.restartIce()
            await fired(history, 1)
            peer.restartIce()
            await form(peer, pc)
            await satisfied(pc, peer)
            await fired(history, 1)


@both_forms
@pytest.mark.parametrize("mids", [["0"], ["0", "1"], ["2"]], ids=len)
async def test_survives_a_partial_remote_restart(
    network: Network, form: Negotiate, mids: list[str]
) -> None:
    """
    A remote offer which restarts only some of the transports is not enough: some of the
    credentials that were to be replaced are still in use.
    """
    async with connected_pair(network, offerer=Unbundled, prepare=add_media) as pair:
        pc, peer = pair.answerer, pair.offerer
        history = states(pc)
        pc.restartIce()
        await fired(history, 1)
        for count in (2, 3):
            before = paths(pc)
            new = {name: value + str(count) for name, value in NEW.items()}
            offer = sdp_edit(await peer.createOffer(), **new, mids=mids)
            await peer.setLocalDescription(offer)
            await pc.setRemoteDescription(peer.localDescription)
            await pc.setLocalDescription()
            await peer.setRemoteDescription(pc.localDescription)
            await switched(pc, peer)
            assert [a == b for a, b in zip(before, paths(pc), strict=True)] == [
                str(i) not in mids for i in range(3)
            ]
            await fired(history, count)
        await form(pc, peer)
        await satisfied(pc, peer)
        assert all(set(a).isdisjoint(b) for a, b in zip(before, paths(pc), strict=True))
        await fired(history, 3)


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("offers", ["we", "peer"])
@both_forms
async def test_survives_a_rollback(
    network: Network, form: Negotiate, offers: str, side: str
) -> None:
    """
    A rollback, of our restart or of the peer's, has it fire again, and the next offer
    has yet other credentials.
    """
    async with connected_pair(network) as pair:
        pc, peer = pair.offerer, pair.answerer
        history = states(pc)
        pc.restartIce()
        seen = [*credentials(pc.localDescription)]
        for count in range(1, 4):
            await fired(history, count)
            if offers == "we":
                seen += credentials(await offered(pc))
            else:
                await pc.setRemoteDescription(await offered(peer, iceRestart=True))
            if side == "local":
                await pc.setLocalDescription(ROLLBACK)
            else:
                await pc.setRemoteDescription(ROLLBACK)
            if offers == "peer":
                await peer.setLocalDescription(ROLLBACK)
        await fired(history, 4)
        await form(pc, peer)
        seen += credentials(pc.localDescription)
        assert len(set(seen)) == len(seen)
        await satisfied(pc, peer)
        await fired(history, 4)


@both_forms
async def test_option_is_forgotten_by_a_rollback(
    network: Network, form: Negotiate
) -> None:
    """
    `createOffer(iceRestart=True)` asks for that offer only.
    """
    async with connected_pair(network) as pair:
        pc, peer = pair.offerer, pair.answerer
        history, before = states(pc), paths(pc)
        await offered(pc, iceRestart=True)
        await pc.setLocalDescription(ROLLBACK)
        await fired(history, 0)
        await form(pc, peer)
        await satisfied(pc, peer)
        assert paths(pc) == before


@both_forms
async def test_provisional_answer(network: Network, form: Negotiate) -> None:
    """
    A provisional answer does not satisfy it, the final one does.
    """
    # webrtc-pc #set-the-session-description
    async with connected_pair(network) as pair:
        pc, peer = pair.answerer, pair.offerer
        pc.restartIce()
        await pc.setRemoteDescription(await offered(peer, iceRestart=True))
        answer = edited(await pc.createAnswer(), "^", "")
        answer.type = "pranswer"
        await pc.setLocalDescription(answer)
        assert pc._session.credentials_to_replace
        await pc.setLocalDescription()
        assert not pc._session.credentials_to_replace
        await peer.setRemoteDescription(pc.localDescription)
        await satisfied(pc, peer)
        await form(peer, pc)
        await satisfied(peer, pc)


async def test_stale_offer_is_replaced(network: Network) -> None:
    """
    A fresh offer in the place of one that was made before satisfies it.
    """
    async with connected_pair(network) as pair:
        pc, peer = pair.offerer, pair.answerer
        history, before = states(pc), paths(pc)
        stale = await pc.createOffer()
        pc.restartIce()
        await pc.setLocalDescription(stale)
        await implicit(pc, peer)
        await satisfied(pc, peer)
        assert paths(pc) != before
        await fired(history, 0)


async def test_failed_restart(network: Network) -> None:
    """
    A restart that was answered is one, even if it does not connect: that is told by the
    state, and not by another event.
    """
    async with connected_pair(network) as pair:
        pc, peer = pair.offerer, pair.answerer
        history = states(pc)
        network.cut("alice", "bob")
        await until(lambda: pc.iceConnectionState == "failed", timeout=60)
        pc.restartIce()
        await fired(history, 1)
        await explicit(pc, peer)
        await until(lambda: history.ice[-2:] == ["checking", "failed"], timeout=60)
        assert history.negotiationneeded == 1
        network.heal("alice", "bob")
        pc.restartIce()
        await fired(history, 2)
        await explicit(pc, peer)
        await satisfied(pc, peer)
        await pair.exchange()
