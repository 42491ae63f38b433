"""
Restarts which the peer offers.
"""

import asyncio

import pytest
from aiortc import RTCSessionDescription

from aiortc_restart import RTCPeerConnection

from .calls import (
    RETIREMENT,
    SETTLING,
    answered,
    ice_transport,
    offered,
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

OTHER = {"ufrag": "otherufrag", "pwd": "otherpasswordotherpassword"}


def add_media(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTransceiver("audio")
    answerer.addTransceiver("audio")


@pytest.mark.parametrize("implicit", [False, True])
async def test_answer(network: Network, implicit: bool) -> None:
    """
    An answerer that knows nothing of restarts follows one: it answers as ever.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        history = states(pair.answerer)
        before = paths(pair.answerer)
        offer = await offered(pair.offerer, iceRestart=True)

        await pair.answerer.setRemoteDescription(offer)
        answer = None if implicit else await pair.answerer.createAnswer()
        await pair.answerer.setLocalDescription(answer)

        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)
        assert set(before[0]).isdisjoint(paths(pair.answerer)[0])
        assert history.ice == ["completed", "connected", "completed"]
        assert history.negotiationneeded == 0
        await pair.exchange()


@pytest.mark.parametrize("names", [{"ufrag"}, {"pwd"}, {"ufrag", "pwd"}], ids="+".join)
async def test_answer_credentials(network: Network, names: set[str]) -> None:
    """
    If either field of the offer has changed, both fields of the answer are new.
    """
    # RFC 9429 section 5.10, RFC 8839 section 4.4.2.1
    async with connected_pair(network, prepare=add_media) as pair:
        old = set(credentials(pair.answerer.localDescription))
        offer = sdp_edit(
            await pair.offerer.createOffer(), **{x: OTHER[x] for x in names}
        )
        await pair.answerer.setRemoteDescription(offer)
        new = set(credentials(await pair.answerer.createAnswer()))
        assert len(new) == 1
        ((old_ufrag, old_pwd), (new_ufrag, new_pwd)) = *old, *new
        assert old_ufrag != new_ufrag
        assert old_pwd != new_pwd


@pytest.mark.parametrize("name", ["ufrag", "pwd"])
async def test_one_field(network: Network, name: str) -> None:
    """
    A restart in which only one of the offer's fields has changed works like any other.
    """
    # RFC 9429 section 5.10
    async with connected_pair(network) as pair:
        old = ice_transport(pair.offerer)._connection
        history = states(pair.answerer)
        offer = sdp_edit(await pair.offerer.createOffer(), **{name: OTHER[name]})
        await pair.offerer.setLocalDescription(offer)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert ice_transport(pair.offerer)._connection is not old
        assert history.ice == ["completed", "connected", "completed"]
        await asyncio.sleep(RETIREMENT)
        await pair.exchange()
        assert network.sockets("alice") == network.sockets("bob") == 1
        await restart(pair.answerer, pair.offerer)
        await pair.exchange()


async def test_answer_without_restart(network: Network) -> None:
    """
    An offer with unchanged credentials is answered with unchanged credentials.
    """
    # RFC 9429 section 5.3.2
    async with connected_pair(network, prepare=add_media) as pair:
        before = paths(pair.offerer, pair.answerer)
        old = credentials(pair.answerer.localDescription)
        found = candidates(pair.answerer.localDescription)
        history = states(pair.answerer)
        _, answer = await negotiate(pair.offerer, pair.answerer)
        assert credentials(answer) == old
        assert candidates(answer) == found
        await asyncio.sleep(SETTLING)
        assert paths(pair.offerer, pair.answerer) == before
        assert history.ice == ["completed"]
        assert history.gathering == ["complete"]
        assert network.sockets("alice") == network.sockets("bob") == 1


async def test_nothing_before_the_answer(network: Network) -> None:
    """
    Between offer and answer nothing is gathered or sent, and the call goes on.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        before = paths(pair.answerer)
        history = states(pair.answerer)
        await pair.answerer.setRemoteDescription(
            await offered(pair.offerer, iceRestart=True)
        )
        answers = [await pair.answerer.createAnswer() for _ in range(3)]
        assert [candidates(x) for x in answers] == [[]] * 3
        assert "a=end-of-candidates" not in "".join(x.sdp for x in answers)
        assert len({x for y in answers for x in credentials(y)}) == 1
        await asyncio.sleep(60)
        assert network.sockets("bob") == 1
        assert paths(pair.answerer) == before
        assert history.ice == ["completed"]
        assert history.gathering == ["complete"]
        await pair.exchange()

        # The answer may be given at any time.
        await pair.answerer.setLocalDescription(answers[0])
        assert set(credentials(pair.answerer.localDescription)) == set(
            credentials(answers[0])
        )
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)


async def test_answer_with_own_credentials(network: Network) -> None:
    """
    An answer to a restart may be given other credentials before it is applied.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        await pair.answerer.setRemoteDescription(
            await offered(pair.offerer, iceRestart=True)
        )
        answer = sdp_edit(await pair.answerer.createAnswer(), **OTHER)
        await pair.answerer.setLocalDescription(answer)
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.answerer)[0][0] == OTHER["ufrag"]
        await pair.exchange()


async def test_same_offer_again(network: Network) -> None:
    """
    A restart offer which comes twice is one restart.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        first = await pair.answerer.createAnswer()
        generations = ice_transport(pair.answerer).generations
        answer = await answered(pair.answerer, offer)
        assert credentials(answer) == credentials(first)
        assert ice_transport(pair.answerer).generations == generations
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)


async def test_plain_offer_instead(network: Network) -> None:
    """
    A plain offer in place of a restart offer ends the restart, which had not begun.
    """
    async with connected_pair(network) as pair:
        before = paths(pair.offerer, pair.answerer)
        old = credentials(pair.answerer.localDescription)
        plain = await pair.offerer.createOffer()
        await pair.answerer.setRemoteDescription(
            await offered(pair.offerer, iceRestart=True)
        )
        await pair.offerer.setLocalDescription(plain)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        assert credentials(answer) == old
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(SETTLING)
        assert paths(pair.offerer, pair.answerer) == before
        for pc in (pair.offerer, pair.answerer):
            assert len(ice_transport(pc).generations) == 1
            assert not ice_transport(pc).restarting
        assert network.sockets("alice") == network.sockets("bob") == 1
        await pair.exchange()
        await restart(pair.answerer, pair.offerer)


async def test_alternating(network: Network) -> None:
    """
    Restarts may follow each other at once, offered by either side in turn.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        peers = [pair.offerer, pair.answerer]
        seen: set[str] = set()
        for _ in range(6):
            await restart(*peers)
            await pair.exchange()
            seen.update(*paths(*peers))
            peers.reverse()
        # Each round, each side has made one username fragment.
        assert len(seen) == 12
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1


async def test_unanswered_close(network: Network) -> None:
    """
    Both ends may be closed in the midst of a restart, which leaves nothing behind.
    """

    async def stop(offer: RTCSessionDescription, pc: RTCPeerConnection) -> None:
        await pc.setRemoteDescription(offer)
        await pc.close()

    async with connected_pair(network) as pair:
        await stop(await offered(pair.offerer, iceRestart=True), pair.answerer)
        await pair.offerer.close()
    await asyncio.sleep(0)
    assert network.sockets("alice") == network.sockets("bob") == 0
