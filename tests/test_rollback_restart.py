"""
Rollbacks of restarts: the old generation has run on all the time, and only the new one
is dropped (RFC 9429 section 5.7).
"""

import asyncio

import pytest

from aiortc_restart import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceServer,
)

from .calls import (
    ROLLBACK,
    SETTLING,
    answered,
    ice_transport,
    offered,
    paths,
    peers,
    restart,
    switched,
    ufrag_of,
)
from .network import Network
from .probes import stun_server
from .snapshots import nothing_changes, watch_slots
from .utils import connected_pair, credentials, negotiate, states, until

SLOW_SERVER = RTCConfiguration(iceServers=[RTCIceServer("stun:10.0.9.1:3478")])
NO_SERVER = RTCConfiguration(iceServers=[])


@pytest.mark.parametrize("gathered", [True, False], ids=["gathered", "gathering"])
@pytest.mark.parametrize("side", ["local", "remote"])
async def test_generations(network: Network, gathered: bool, side: str) -> None:
    """
    The old generation is the one that is described again, with its gathering state, and
    the sockets of the new one are free.
    """
    server = await stun_server(network, *([1.0] * 20))
    async with connected_pair(
        network, configuration=SLOW_SERVER, answerer_configuration=NO_SERVER
    ) as pair:
        watch_slots(pair.offerer)
        history = states(pair.offerer)
        (old,) = ice_transport(pair.offerer).generations
        before = paths(pair.offerer, pair.answerer)
        said = credentials(pair.offerer.localDescription)
        offering = asyncio.create_task(offered(pair.offerer, iceRestart=True))
        await until(lambda: pair.offerer.signalingState == "have-local-offer")
        await asyncio.sleep(5 if gathered else 0.5)
        assert pair.offerer.iceGatheringState == (
            "complete" if gathered else "gathering"
        )
        assert network.sockets("alice") == 2

        if side == "local":
            await pair.offerer.setLocalDescription(ROLLBACK)
        else:
            await pair.offerer.setRemoteDescription(ROLLBACK)
        await until(lambda: pair.offerer.iceGatheringState == "complete")
        assert history.gathering == ["complete", "gathering", "complete"]
        if gathered:
            await offering
        else:
            with pytest.raises(InvalidStateError, match="was rolled back"):
                await offering
        await asyncio.sleep(SETTLING)
        assert network.sockets("alice") == 1
        assert ice_transport(pair.offerer).generations == [old]
        assert paths(pair.offerer, pair.answerer) == before
        assert history.ice == ["completed"]
        assert history.signaling == ["stable", "have-local-offer", "stable"]
        # `iceRestart=True` is forgotten.
        assert history.negotiationneeded == 0
        assert credentials(await pair.offerer.createOffer()) == said
        await pair.exchange()
        await restart(pair.answerer, pair.offerer)
        await restart(pair.offerer, pair.answerer)
    server.close()


async def test_call_goes_on(network: Network) -> None:
    """
    Not a message is lost while restarts are offered and rolled back.
    """
    async with connected_pair(network, maxRetransmits=0) as pair:
        received: list[object] = []
        pair.remote_channel.on("message", received.append)

        async def send() -> None:
            for number in range(300):
                pair.channel.send(str(number))
                await asyncio.sleep(0.01)

        sending = asyncio.create_task(send())
        for _ in range(20):
            await pair.answerer.setRemoteDescription(
                await offered(pair.offerer, iceRestart=True)
            )
            await pair.answerer.setLocalDescription(ROLLBACK)
            await asyncio.sleep(0.1)
            await pair.offerer.setLocalDescription(ROLLBACK)
        await sending
        await until(lambda: len(received) == 300)
        assert received == [str(x) for x in range(300)]


async def test_old_candidates(network: Network) -> None:
    """
    The offer after a rollback says what was said before: nothing stale, nothing new.
    """
    async with connected_pair(network) as pair:
        before = ice_transport(pair.offerer).iceGatherer.getLocalCandidates()
        remote = ice_transport(pair.answerer).getRemoteCandidates()
        await pair.answerer.setRemoteDescription(
            await offered(pair.offerer, iceRestart=True)
        )
        await pair.answerer.setLocalDescription(ROLLBACK)
        await pair.offerer.setLocalDescription(ROLLBACK)
        assert ice_transport(pair.offerer).iceGatherer.getLocalCandidates() == before
        assert ice_transport(pair.answerer).getRemoteCandidates() == remote
        offer, _ = await negotiate(pair.offerer, pair.answerer)
        assert ice_transport(pair.answerer).getRemoteCandidates() == remote
        assert ufrag_of(offer) == paths(pair.offerer)[0][0]


@pytest.mark.parametrize("role", ["offerer", "answerer"])
async def test_before_the_first_checks(network: Network, role: str) -> None:
    """
    A rollback undoes an offer, and not the negotiation before it, though its candidates
    are being gathered still.
    """
    server = await stun_server(network, *([1.0] * 20))
    async with peers(network, configuration=SLOW_SERVER) as (offerer, answerer):
        offerer.createDataChannel("test")
        # Offer and answer are exchanged without candidates, which follow.
        first = asyncio.create_task(offerer.setLocalDescription())
        await until(lambda: offerer.localDescription is not None)
        await answerer.setRemoteDescription(offerer.localDescription)
        second = asyncio.create_task(answerer.setLocalDescription())
        await until(lambda: answerer.signalingState == "stable")
        await offerer.setRemoteDescription(answerer.localDescription)
        pc, other = offerer, answerer
        if role == "answerer":
            pc, other = answerer, offerer
        said = credentials(pc.localDescription)
        generations = ice_transport(pc).generations
        offer = await other.createOffer()
        await pc.setRemoteDescription(offer)
        await pc.setRemoteDescription(ROLLBACK)
        assert credentials(pc.localDescription) == said
        assert ice_transport(pc).generations == generations
        await asyncio.gather(first, second)
        assert credentials(await pc.createOffer()) == said
        # Each brings the other the candidates that were missing.
        await negotiate(answerer, offerer)
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
    server.close()


async def test_only_in_a_negotiation(network: Network) -> None:
    """
    There is nothing to roll back before a negotiation, nor after.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        for _ in range(2):
            await asyncio.sleep(SETTLING)
            for pc in (offerer, answerer):
                for call in (pc.setLocalDescription, pc.setRemoteDescription):
                    with (
                        nothing_changes(pc),
                        pytest.raises(InvalidStateError, match="Cannot handle rollb"),
                    ):
                        await call(ROLLBACK)
            await offered(offerer)
            await offerer.setLocalDescription(ROLLBACK)
            await offerer.setRemoteDescription(
                await answered(answerer, await offered(offerer))
            )


async def test_offered_before_the_first_checks(network: Network) -> None:
    """
    The first checks begin though the peer offers a restart before them, which is rolled
    back.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        answer = await answered(answerer, await offered(offerer))
        offer = await offered(answerer, iceRestart=True)
        await offerer.setRemoteDescription(answer)
        await offerer.setRemoteDescription(offer)
        await asyncio.sleep(SETTLING)
        await offerer.setRemoteDescription(ROLLBACK)
        await answerer.setLocalDescription(ROLLBACK)
        await switched(offerer, answerer)
