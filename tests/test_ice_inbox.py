"""
What several generations receive is read in the order in which it was sent.
"""

import asyncio

import pytest

from aiortc_restart import RTCIceTransport
from aiortc_restart.ice.inbox import INBOX_SIZE, Inbox, NewerInbox

from .agents import (
    active,
    connected_transports,
    current,
    exchange,
    restart,
    rtp_like,
    socket_address,
)
from .network import Address, Network


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def read(transport: RTCIceTransport, number: int) -> list[bytes]:
    async with asyncio.timeout(1):
        return [await transport._recv() for _ in range(number)]


async def switched_paths(
    alice: RTCIceTransport, bob: RTCIceTransport
) -> list[tuple[Address, Address]]:
    """
    Restart, and return the old and the new path from the second to the first.
    """
    paths = [(socket_address(active(bob)), socket_address(active(alice)))]
    await restart(alice, bob)
    # Until what a restart sends itself has arrived.
    await asyncio.sleep(0.5)
    paths.append((socket_address(current(bob)), socket_address(current(alice))))
    return paths


# The queues


async def test_inbox(network: Network) -> None:
    """
    Datagrams are read in the order of their arrival, and waited for.
    """
    inbox = Inbox()
    reading = asyncio.create_task(inbox.get())
    await turns(2)
    inbox.put(b"1")
    inbox.put(b"2")
    assert await reading == b"1"
    assert len(inbox) == 1
    assert await inbox.get() == b"2"


async def test_inbox_is_closed(network: Network) -> None:
    """
    Closing it ends the wait of who reads, and drops what is there.
    """
    inbox = Inbox()
    reading = asyncio.create_task(inbox.get())
    await turns(2)
    inbox.close()
    with pytest.raises(ConnectionError):
        await reading
    full = Inbox()
    for _ in range(INBOX_SIZE + 1):
        full.put(b"unread")
    full.close()
    with pytest.raises(ConnectionError):
        await full.get()


async def test_newer_inbox_is_bounded(network: Network) -> None:
    """
    While the older path is busy, no more is held than the inbox has room for.
    """
    inbox = Inbox()
    delivered = 0
    newer = NewerInbox(inbox, lambda: delivered)
    for number in range(INBOX_SIZE + 10):
        newer.put(str(number).encode())
    for _ in range(10):
        delivered += 1
        await turns(1)
    assert len(inbox) == 0
    await turns(5)
    assert len(inbox) == INBOX_SIZE
    assert await inbox.get() == b"0"
    inbox.close()


async def test_newer_inbox_of_a_quiet_older_path(network: Network) -> None:
    """
    If the older path has nothing, what is held is handed over within a few turns, and
    so is what comes later.
    """
    inbox = Inbox()
    newer = NewerInbox(inbox, lambda: 0)
    for number in (b"1", b"2"):
        newer.put(number)
        assert len(inbox) == 0
        await turns(4)
        assert await inbox.get() == number


# The transport


async def test_old_path_is_read_first(network: Network) -> None:
    """
    When datagrams wait on both paths, those of the old one are read first.
    """
    async with connected_transports(network) as (alice, bob):
        old, new = await switched_paths(alice, bob)
        for number in range(5):
            # As an event loop reads them: one of each socket in turn.
            network.send(*new, rtp_like(f"new {number}"))
            network.send(*old, rtp_like(f"old {number}"))
            await turns(1)
        assert await read(alice, 10) == [
            rtp_like(f"{name} {number}")
            for name in ("old", "new")
            for number in range(5)
        ]


async def test_new_path_alone(network: Network) -> None:
    """
    What comes on the new path alone does not wait for the end of the old one.
    """
    async with connected_transports(network) as (alice, bob):
        _, new = await switched_paths(alice, bob)
        for number in range(5):
            network.send(*new, rtp_like(number))
            await turns(1)
        began = network.now
        assert await read(alice, 5) == [rtp_like(number) for number in range(5)]
        assert network.now == began


async def test_old_path_ends_while_the_new_one_waits(network: Network) -> None:
    """
    What the new path holds is read before what it receives when the old generation
    has been closed.
    """
    async with connected_transports(network) as (alice, bob):
        old, new = await switched_paths(alice, bob)
        network.send(*new, rtp_like("new"))
        network.send(*old, rtp_like("old"))
        await turns(1)
        ((retired, timer),) = alice._retired.items()
        timer.cancel()
        alice._close(retired)
        network.send(*new, rtp_like("newer"))
        assert await read(alice, 3) == [rtp_like(x) for x in ("old", "new", "newer")]
        await exchange(alice, bob)


@pytest.mark.parametrize("gap", [0.0001, 0.0003])
async def test_order_across_restarts(network: Network, gap: float) -> None:
    """
    A stream of datagrams keeps its order over restarts.
    """
    async with connected_transports(network) as (alice, bob):
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                await bob._send(rtp_like(sent))
                sent += 1
                await asyncio.sleep(gap)

        sending = asyncio.create_task(send())
        received: list[bytes] = []

        async def receive() -> None:
            while True:
                received.append(await alice._recv())

        receiving = asyncio.create_task(receive())
        for number in range(6):
            await restart(*((alice, bob) if number % 2 else (bob, alice)))
        sending.cancel()
        await asyncio.sleep(0.1)
        receiving.cancel()
        await asyncio.wait([sending, receiving])
        assert sent > 10
        assert received == [rtp_like(number) for number in range(sent)]
