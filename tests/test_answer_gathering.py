"""
While candidates are gathered the negotiation goes on: what waits for them, and what
does not.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable

import pytest

from aiortc_restart import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import SETTLING, answered, offered, paths, peers, switched, ufrag_of
from .network import Network
from .probes import stun_server
from .utils import Pair, candidates, connected_pair, negotiate, states, until

SLOW = RTCConfiguration(iceServers=[RTCIceServer("stun:10.0.9.1:3478")])


@contextlib.asynccontextmanager
async def slow_pair(network: Network) -> AsyncIterator[Pair]:
    """
    Connect two peers of which each gathers for a second.
    """
    server = await stun_server(network, *(50 * [1.0]))
    async with connected_pair(network, configuration=SLOW) as pair:
        yield pair
    server.close()


async def answering(pair: Pair) -> tuple["asyncio.Task[None]", RTCSessionDescription]:
    """
    Begin to answer a restart, and return the task and the answer.
    """
    pc = pair.answerer
    await pc.setRemoteDescription(await offered(pair.offerer, iceRestart=True))
    answer = await pc.createAnswer()
    task = asyncio.create_task(pc.setLocalDescription(answer))
    await asyncio.sleep(0.1)
    assert (pc.signalingState, pc.iceGatheringState) == ("stable", "gathering")
    return task, answer


async def test_nothing_is_held_back(network: Network) -> None:
    """
    An answer whose candidates are being gathered holds back neither candidates of the
    peer nor its next offer.
    """
    async with slow_pair(network) as pair:
        task, answer = await answering(pair)
        begun = network.now
        for candidate in candidates(pair.offerer.localDescription):
            await pair.answerer.addIceCandidate(candidate)
        await pair.answerer.addIceCandidate(None)
        await pair.offerer.setRemoteDescription(answer)
        await pair.answerer.setRemoteDescription(await pair.offerer.createOffer())
        assert pair.answerer.signalingState == "have-remote-offer"
        assert network.now == begun
        assert not task.done()

        # The second answer follows the first one, though it has nothing to gather.
        await pair.offerer.setLocalDescription()
        await pair.answerer.setLocalDescription()
        assert task.done()
        await task
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.answerer)[0][0] == ufrag_of(answer)
        await pair.exchange()


async def test_said_first(network: Network) -> None:
    """
    An offer which is made while candidates are gathered for an answer waits, so that
    who sets the answer finds it in its slot and sends it first.
    """
    async with slow_pair(network) as pair:
        pc = pair.answerer
        sent: list[RTCSessionDescription] = []

        async def say(step: Awaitable[None]) -> None:
            await step
            sent.append(pc.localDescription)

        task, answer = await answering(pair)
        await asyncio.gather(say(task), say(pc.setLocalDescription()))
        assert [x.type for x in sent] == ["answer", "offer"]
        assert ufrag_of(sent[0]) == ufrag_of(answer)
        assert candidates(sent[0])
        for description in sent:
            # The first is not complete without its candidates, neither is the second.
            assert description.sdp.count("a=end-of-candidates") == 1
        await pair.offerer.setRemoteDescription(sent[0])
        await pc.setRemoteDescription(await answered(pair.offerer, sent[1]))
        await switched(pair.offerer, pc)


async def test_said_first_holds_nothing_back(network: Network) -> None:
    """
    While an offer waits for an answer's candidates, the peer's next offer does not wait
    for either.
    """
    async with slow_pair(network) as pair:
        pc = pair.answerer
        task, answer = await answering(pair)
        waiting = [
            asyncio.create_task(pc.setLocalDescription()),
            asyncio.create_task(pc.setLocalDescription(await pc.createOffer())),
        ]
        await asyncio.sleep(0.1)
        begun = network.now
        await pair.offerer.setRemoteDescription(answer)
        await pc.setRemoteDescription(await pair.offerer.createOffer())
        await pc.addIceCandidate(None)
        assert network.now == begun
        assert pc.signalingState == "have-remote-offer"
        assert not any(x.done() for x in (task, *waiting))

        # Then the first of them is the answer to that, and the second an offer.
        await pair.offerer.setLocalDescription()
        await asyncio.gather(*waiting)
        assert task.done()
        assert pc.currentLocalDescription is not None
        assert pc.currentLocalDescription.type == "answer"
        assert pc.localDescription.type == "offer"
        await pair.offerer.setRemoteDescription(pc.currentLocalDescription)
        await pc.setRemoteDescription(await answered(pair.offerer, pc.localDescription))
        await switched(pair.offerer, pc)
        await pair.exchange()


async def test_event_after_the_answer(network: Network) -> None:
    """
    The event is not fired before the `setLocalDescription()` of the answer has
    returned.
    """
    async with slow_pair(network) as pair:
        order: list[str] = []
        pair.answerer.on("negotiationneeded", lambda: order.append("event"))
        task, _ = await answering(pair)
        task.add_done_callback(lambda _: order.append("answer"))
        pair.answerer.restartIce()
        pair.answerer.addTransceiver("audio")
        await asyncio.sleep(0.5)
        assert order == []
        await asyncio.sleep(SETTLING)
        assert order == ["answer", "event"]


@pytest.mark.parametrize("what", ["answer", "offer"])
async def test_close(network: Network, what: str) -> None:
    """
    close() ends with an InvalidStateError who waits for candidates, and who waits for
    those.
    """
    async with slow_pair(network) as pair:
        pc = pair.answerer
        if what == "answer":
            task, _ = await answering(pair)
        else:
            task = asyncio.create_task(
                pc.setLocalDescription(await pc.createOffer(iceRestart=True))
            )
        calls: list[asyncio.Task[object]] = [task]
        if what == "answer":
            # They wait for the answer, and do not hold each other back.
            calls.append(asyncio.create_task(pc.setLocalDescription()))
            calls.append(asyncio.create_task(pc.setLocalDescription()))
        await asyncio.sleep(0.1)
        begun = network.now
        await pc.close()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(x) for x in results] == [InvalidStateError] * len(results)
        assert {str(x) for x in results} == {"RTCPeerConnection is closed"}
        assert network.now == begun


@pytest.mark.parametrize("role", ["offerer", "answerer"])
async def test_cancelled_while_gathering(network: Network, role: str) -> None:
    """
    Who is cancelled while candidates are gathered has set the description: it stays in
    force, is completed, and connects when it is signalled.
    """
    server = await stun_server(network, *(50 * [1.0]))
    async with peers(network) as (offerer, answerer):
        slow = offerer if role == "offerer" else answerer
        slow.setConfiguration(SLOW)
        history = states(slow)
        offerer.createDataChannel("test")

        async def cancelled(pc: RTCPeerConnection) -> RTCSessionDescription:
            task = asyncio.create_task(pc.setLocalDescription())
            await asyncio.sleep(0.1)
            if pc is slow:
                assert "a=end-of-candidates" not in pc.localDescription.sdp
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await asyncio.sleep(2 * SETTLING)
            assert pc.localDescription.sdp.count("a=end-of-candidates") == 1
            assert candidates(pc.localDescription)
            return pc.localDescription

        await answerer.setRemoteDescription(await cancelled(offerer))
        await offerer.setRemoteDescription(await cancelled(answerer))
        await until(lambda: slow.connectionState == "connected")
        assert history.gathering == ["new", "gathering", "complete"]
        assert history.signaling[-1] == "stable"
        await negotiate(answerer, offerer)
    server.close()


async def test_cancelled_while_waiting_for_the_answer(network: Network) -> None:
    """
    Who waits for an answer's candidates may be cancelled; the answer is not.
    """
    async with slow_pair(network) as pair:
        task, answer = await answering(pair)
        later = asyncio.create_task(pair.answerer.setLocalDescription())
        await asyncio.sleep(0.1)
        later.cancel()
        await asyncio.gather(later, return_exceptions=True)
        assert later.cancelled()
        # Its turn is over.
        await pair.answerer.createOffer()
        assert not task.done()
        await task
        assert pair.answerer.localDescription.type == "answer"
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.answerer)[0][0] == ufrag_of(answer)


async def test_what_waits_and_what_does_not(network: Network) -> None:
    """
    Steps wait for the one before; the state can be read and the connection closed
    meanwhile. A step which is cancelled while it waits leaves no trace.
    """
    async with connected_pair(network) as pair:
        pc = pair.answerer
        offer = await offered(pair.offerer)
        before = pc.localDescription
        async with pc._operations.operation():
            waiting = [
                asyncio.create_task(x)
                for x in (
                    pc.setRemoteDescription(offer),
                    pc.createAnswer(),
                    pc.setLocalDescription(),
                    pc.addIceCandidate(None),
                )
            ]
            await asyncio.sleep(SETTLING)
            assert not any(x.done() for x in waiting)
            assert pc.signalingState == "stable"
            assert pc.localDescription == before
            assert pc.pendingRemoteDescription is None
            assert await pc.getStats() == {}
            assert pc.getConfiguration().iceServers == []
            waiting.pop(1).cancel()
        await asyncio.gather(*waiting)
        await pair.offerer.setRemoteDescription(pc.localDescription)
        await pair.exchange()


async def test_close_does_not_wait(network: Network) -> None:
    """
    close() does not wait for the step that runs, and those which wait say then that it
    was too late.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer)
        async with pair.answerer._operations.operation():
            waiting = asyncio.create_task(pair.answerer.setRemoteDescription(offer))
            await asyncio.sleep(SETTLING)
            await pair.answerer.close()
            with pytest.raises(InvalidStateError, match="RTCPeerConnection is closed"):
                await waiting
        assert pair.answerer.signalingState == "closed"
