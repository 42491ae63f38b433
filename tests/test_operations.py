"""
One step of the negotiation at a time (webrtc-pc #dfn-chain).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from aiortc_restart import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc_restart.negotiation.operations import (
    TURNS,
    Operation,
    OperationsChain,
    PlainOperation,
)

from .calls import offered, peers, switched
from .network import Network
from .probes import stun_server
from .utils import connected_pair

Step = Coroutine[Any, Any, None]
Way = Callable[[Step], Awaitable[None]]

SLOW_SERVER = [RTCIceServer("stun:10.0.9.1:3478")]


async def emptied_chain(chain: OperationsChain) -> None:
    """
    Wait until the end of the last step has been seen.
    """
    for _ in range(3 * TURNS):
        await asyncio.sleep(0)
    assert len(chain) == 0


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
    assert emptied == []
    await emptied_chain(chain)
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
        await emptied_chain(chain)


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
    await emptied_chain(chain)
    assert emptied == [len(order)]


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
    await emptied_chain(chain)


async def directly(step: Step) -> None:
    await step


async def in_a_task(step: Step) -> None:
    await asyncio.create_task(step)


async def in_gather(step: Step) -> None:
    await asyncio.gather(step)


async def in_group(step: Step) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(step)


async def in_wait(step: Step) -> None:
    await asyncio.wait([asyncio.create_task(step)])


async def in_wait_for(step: Step) -> None:
    await asyncio.wait_for(step, 10)


async def shielded(step: Step) -> None:
    await asyncio.shield(step)


async def in_both(step: Step) -> None:
    await asyncio.gather(asyncio.wait_for(step, 10))


async def in_a_wrapper(step: Step) -> None:
    await asyncio.wait_for(directly(step), 10)


async def kept_and_wrapped(step: Step) -> None:
    task = asyncio.create_task(directly(step))
    # So that it is not garbage before its end.
    kept = {task}
    task.add_done_callback(kept.discard)
    await asyncio.gather(asyncio.shield(task))


WAYS = [
    directly,
    in_a_wrapper,
    kept_and_wrapped,
    in_a_task,
    in_gather,
    in_group,
    in_wait,
    in_wait_for,
    shielded,
    in_both,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("suspends", [False, True], ids=["at once", "suspends"])
@pytest.mark.parametrize("released", [False, True], ids=["held", "released"])
async def test_seen(network: Network, way: Way, suspends: bool, released: bool) -> None:
    """
    Who awaits a step, in whichever way, sees what it led to before the next one begins,
    and before the chain is empty.
    """
    state: list[str] = []
    chain = OperationsChain(lambda: state.append("empty"))

    async def step(name: str) -> None:
        async with chain.operation() as operation:
            if released:
                operation.release()
            if suspends:
                await asyncio.sleep(1)
            state.append(name)

    async def call(name: str) -> list[str]:
        await way(step(name))
        return state[:]

    async def interrupt() -> None:
        # At each moment at which the first one may have ended.
        for turn in range(2 * TURNS):
            others.append(asyncio.create_task(step(f"{turn}")))
            await asyncio.sleep(0)

    others: list[asyncio.Task[None]] = []
    first = asyncio.create_task(call("first"))
    await asyncio.sleep(1 if suspends else 0)
    await interrupt()
    assert (await first)[-1] == "first"
    await asyncio.gather(*others)
    await emptied_chain(chain)
    assert state[-1] == "empty"
    assert state.count("empty") == 1


async def test_next_step_of_the_caller(network: Network) -> None:
    """
    A caller who is there with the next step has seen the end of the last one.
    """
    chain = OperationsChain(lambda: None)

    async def step() -> None:
        async with chain.operation():
            assert len(chain) == 1

    for _ in range(3):
        # Nothing is waited for but the end of the call.
        call = step()
        call.send(None)
        with pytest.raises(StopIteration):
            call.send(None)


async def test_not_within_the_call(network: Network) -> None:
    """
    A step is not done before its call has returned, nor is the chain empty then.
    """
    chain = OperationsChain(lambda: None)
    order: list[str] = []

    async def step() -> None:
        async with chain.operation():
            order.append("step")

    call = step()
    call.send(None)
    order.append("called")
    assert len(chain) == 1
    with pytest.raises(StopIteration):
        call.send(None)
    assert order == ["called", "step"]


@pytest.mark.parametrize("before", ["nothing", "ended", "running"])
async def test_check(network: Network, before: str) -> None:
    """
    What the state has against a step is raised before anything is waited for, unless
    steps before it may change the state.
    """
    chain = OperationsChain(lambda: None)

    def check() -> None:
        raise InvalidStateError("no")

    async def step() -> None:
        async with chain.operation(check=check):
            raise AssertionError("it had a turn")

    async def other() -> None:
        async with chain.operation():
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    if before == "ended":
        await task
    elif before == "running":
        await asyncio.sleep(0)
    if before == "running":
        call = asyncio.create_task(step())
        await asyncio.sleep(0)
        assert not call.done()
        with pytest.raises(InvalidStateError, match="no"):
            await call
    else:
        with pytest.raises(InvalidStateError, match="no"):
            step().send(None)
    await task
    await emptied_chain(chain)


@pytest.mark.parametrize("steady", [False, True])
async def test_check_in_a_crowd(network: Network, steady: bool) -> None:
    """
    Of a crowd of candidates each is checked at once, as none changes what the others
    are checked for.
    """
    chain = OperationsChain(lambda: None)

    def check() -> None:
        raise InvalidStateError("no")

    async def step() -> None:
        async with chain.operation(check=check, steady=True):
            raise AssertionError("it had a turn")

    async def other(steady: bool) -> None:
        async with chain.operation(steady=steady):
            pass

    others = [asyncio.create_task(other(x)) for x in (True, steady)]
    await asyncio.sleep(0)
    crowd = asyncio.create_task(step())
    await asyncio.sleep(0)
    assert crowd.done() == steady
    with pytest.raises(InvalidStateError, match="no"):
        await crowd
    await asyncio.gather(*others)
    await emptied_chain(chain)


async def test_plain(network: Network) -> None:
    """
    A plain method holds the chain as a step does: who awaits it waits for the steps
    before it, and the chain is not empty before.
    """
    order: list[str] = []
    chain = OperationsChain(lambda: order.append("empty"))

    async def step(name: str) -> None:
        async with chain.operation():
            await asyncio.sleep(1)
            order.append(name)

    async def wait(plain: PlainOperation) -> None:
        await plain
        order.append("plain")

    first = asyncio.create_task(step("first"))
    await asyncio.sleep(0)
    plain = chain.join()
    tasks = [asyncio.create_task(x) for x in (step("second"), wait(plain))]
    # Nobody has to wait for it.
    chain.join()
    await asyncio.gather(first, *tasks)
    await wait(plain)
    await emptied_chain(chain)
    assert order == ["first", "plain", "second", "plain", "empty"]
    assert len(chain) == 0


async def test_plain_after_a_step(network: Network) -> None:
    """
    Who awaits a plain method also waits until the end of the step before it has been
    seen, and what the caller of a plain method does next is no part of it.
    """
    chain = OperationsChain(lambda: None)
    async with chain.operation() as first:
        pass
    await chain.join()
    assert first.ended.done()
    chain.join()
    async with chain.operation() as operation:
        assert operation.begun
    await emptied_chain(chain)


async def test_plain_outside_of_tasks(network: Network) -> None:
    """
    Plain methods which are called by the event loop are no parts of each other.
    """
    chain = OperationsChain(lambda: None)
    for _ in range(2):
        asyncio.get_running_loop().call_soon(chain.join)
    await asyncio.sleep(0)
    assert len(chain) == 2
    await emptied_chain(chain)


async def test_plain_and_cancelled(network: Network) -> None:
    """
    Who waits for a plain method may be cancelled, and its part of the chain stays.
    """
    chain = OperationsChain(lambda: None)
    async with chain.operation():
        others = asyncio.create_task(join(chain))
        await asyncio.sleep(0)
        assert len(chain) == 2
        others.cancel()
        await asyncio.wait([others])
        assert len(chain) == 2
    await emptied_chain(chain)


async def join(chain: OperationsChain) -> None:
    await chain.join()


async def test_plain_within_a_step(network: Network) -> None:
    """
    A step which calls a plain method does not wait for itself.
    """
    chain = OperationsChain(lambda: None)
    async with chain.operation():
        await chain.join()
        assert len(chain) == 1


def test_plain_without_a_loop() -> None:
    """
    Where no event loop runs a plain method holds nothing.
    """
    chain = OperationsChain(lambda: None)
    chain.join()
    assert len(chain) == 0


async def test_plain_and_closed(network: Network) -> None:
    """
    Who waits for a plain method when the connection is closed is told so, and nobody
    is if nobody waits.
    """
    chain = OperationsChain(lambda: None)
    async with chain.operation():
        waiting = asyncio.create_task(join(chain))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(chain.join)
        await asyncio.sleep(0)
        chain.close(InvalidStateError("closed"))
        with pytest.raises(InvalidStateError, match="closed"):
            await waiting
    await emptied_chain(chain)


@pytest.mark.parametrize("begun", [False, True], ids=["before", "meanwhile"])
async def test_close(network: Network, begun: bool) -> None:
    """
    close() ends what waits with an InvalidStateError, but for a candidate, which nobody
    wants any more, and does not wait itself.
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
        if begun:
            await asyncio.sleep(0)
        await pair.offerer.close()
        results = await asyncio.gather(*calls, return_exceptions=True)
        expected: list[type] = [InvalidStateError] * len(calls)
        if begun:
            expected[-1] = type(None)
        assert [type(x) for x in results] == expected


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
