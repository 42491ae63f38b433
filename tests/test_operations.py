"""
One step of the negotiation at a time (webrtc-pc #dfn-chain).
"""

import asyncio

import pytest

from aiortc_restart import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc_restart.negotiation.operations import Operation, OperationsChain

from .calls import offered, peers, switched
from .network import Network
from .probes import stun_server
from .utils import connected_pair

SLOW_SERVER = [RTCIceServer("stun:10.0.9.1:3478")]


async def test_order(network: Network) -> None:
    """
    Steps run one at a time, in the order of their calls; then the chain is empty.
    """
    emptied: list[int] = []
    chain = OperationsChain(lambda: emptied.append(len(order)))
    order: list[str] = []

    async def step(name: str) -> None:
        async with chain.operation():
            order.append(f"{name} begins")
            await asyncio.sleep(1)
            order.append(f"{name} ends")

    await asyncio.gather(step("a"), step("b"), step("c"))
    assert order == [f"{x} {y}" for x in "abc" for y in ("begins", "ends")]
    assert emptied == [6]


async def test_cancelled_while_waiting(network: Network) -> None:
    """
    A caller who is cancelled leaves the chain sound, whether it waits or runs.
    """
    chain = OperationsChain(lambda: None)

    async def step() -> None:
        async with chain.operation():
            await asyncio.sleep(1)

    for victim in range(3):
        tasks = [asyncio.create_task(step()) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks[victim].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = [isinstance(x, asyncio.CancelledError) for x in results]
        assert cancelled == [x == victim for x in range(3)]
        assert len(chain) == 0


async def test_part_of_a_step(network: Network) -> None:
    """
    A step which is part of another one does not wait for it.
    """
    chain = OperationsChain(lambda: None)
    async with chain.operation(), chain.operation():
        assert len(chain) == 1


async def test_part_in_a_task(network: Network) -> None:
    """
    It may be called by a task of its own, if it changes nothing, and while the other
    one waits for its parts. Who outlives them has a turn of its own.
    """
    chain = OperationsChain(lambda: None)
    lengths: list[int] = []

    async def step(delay: float, harmless: bool) -> None:
        await asyncio.sleep(delay)
        async with chain.operation(harmless):
            lengths.append(len(chain))

    async with chain.operation() as operation:
        with operation.parts():
            await asyncio.create_task(step(0, harmless=True))
            assert lengths == [1]
            late = [
                asyncio.create_task(step(0, harmless=False)),
                asyncio.create_task(step(1, harmless=True)),
            ]
            await asyncio.sleep(0.5)
        others = [asyncio.create_task(step(0, harmless=True))]
        await asyncio.sleep(2)
        assert lengths == [1]
    await asyncio.gather(*late, *others)
    assert lengths == [1, 3, 2, 1]
    # Another chain's is none of this one's.
    other = OperationsChain(lambda: None)
    async with chain.operation() as operation, other.operation():
        with operation.parts():
            task = asyncio.create_task(wait_in(other))
            await asyncio.sleep(1)
            assert not task.done()
    await task


async def wait_in(chain: OperationsChain) -> None:
    async with chain.operation(harmless=True):
        pass


class Hasty(RTCPeerConnection):
    """
    A connection whose descriptions are created in tasks of their own.
    """

    async def createAnswer(self) -> RTCSessionDescription:
        return await asyncio.create_task(super().createAnswer())

    async def createOffer(self, iceRestart: bool = False) -> RTCSessionDescription:
        return await asyncio.create_task(super().createOffer(iceRestart))


async def test_created_in_a_task(network: Network) -> None:
    """
    Subclasses may create descriptions in another task, as `asyncio.wait_for()` does.
    """
    async with peers(network, Hasty, Hasty) as (offerer, answerer):
        offerer.createDataChannel("test")
        later: list[asyncio.Task[RTCSessionDescription]] = []
        offerer.once(
            "signalingstatechange",
            lambda: later.append(asyncio.create_task(offerer.createOffer())),
        )
        await offerer.setLocalDescription()
        await asyncio.gather(*later)
        await answerer.setRemoteDescription(offerer.localDescription)
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await switched(offerer, answerer)


@pytest.mark.parametrize("end", ["nothing", "while aside", "while queued"])
async def test_aside(network: Network, end: str) -> None:
    """
    Who waits for a step which has been released lets others have their turn, counts as
    one that has not ended, and then has another turn, unless it is cancelled.
    """
    emptied: list[int] = []
    chain = OperationsChain(lambda: emptied.append(len(order)))
    order: list[str] = []
    released: list[Operation] = []

    async def gather() -> None:
        async with chain.operation() as operation:
            released.append(operation)
            operation.release()
            await asyncio.sleep(2)
            order.append("gathered")

    async def wait() -> None:
        async with chain.operation() as operation:
            await operation.wait_for(released[0])
            order.append("waited")

    async def step() -> None:
        async with chain.operation():
            order.append("begins")
            await asyncio.sleep(1.5)
            order.append("ends")

    tasks = [asyncio.create_task(x) for x in (gather(), wait(), step(), step())]
    await asyncio.sleep(1 if end == "while aside" else 2.5)
    assert len(chain) == (4 if end == "while aside" else 2)
    if end != "nothing":
        tasks[1].cancel()
    await asyncio.wait(tasks)
    assert tasks[1].cancelled() == (end != "nothing")
    expected = ["begins", "ends", "begins", "gathered", "ends", "waited"]
    assert order == expected[: 6 if end == "nothing" else 5]
    assert emptied == [len(order)]
    assert len(chain) == 0


async def test_closed_and_cancelled(network: Network) -> None:
    """
    Who is cancelled just when the chain is closed is cancelled, and nothing complains.
    """
    chain = OperationsChain(lambda: None)

    async def step() -> None:
        async with chain.operation():
            raise AssertionError("it had a turn")

    async with chain.operation():
        task = asyncio.create_task(step())
        await asyncio.sleep(0)
        chain.close(InvalidStateError("closed"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(chain) == 0


async def test_close(network: Network) -> None:
    """
    close() ends what waits with an InvalidStateError, and does not wait itself.
    """
    async with connected_pair(network) as pair:
        network.filter = lambda datagram: False
        calls = [
            asyncio.create_task(call)
            for call in (
                pair.offerer.createOffer(),
                pair.offerer.setLocalDescription(),
                pair.offerer.createAnswer(),
                pair.offerer.addIceCandidate(None),
            )
        ]
        await pair.offerer.close()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(x) for x in results] == [InvalidStateError] * len(calls)


async def test_gathering_holds_nothing_back(network: Network) -> None:
    """
    While candidates are gathered the peer's offer has its turn, and what it undoes says
    so to who still waits.
    """
    server = await stun_server(network, *([1.0] * 10))
    configuration = RTCConfiguration(iceServers=SLOW_SERVER)
    async with connected_pair(network, configuration=configuration) as pair:
        offer = await offered(pair.answerer)
        first = asyncio.create_task(offered(pair.offerer, iceRestart=True))
        await asyncio.sleep(0.5)
        await pair.offerer.setRemoteDescription(offer)
        assert pair.offerer.signalingState == "have-remote-offer"
        with pytest.raises(InvalidStateError, match="was rolled back"):
            await first
        assert pair.offerer.pendingLocalDescription is None
    server.close()
