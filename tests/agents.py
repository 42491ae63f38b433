"""
ICE transports without peer connections around them.

A restart takes the same steps as in a negotiation: :func:`offer_restart`,
:func:`answer_restart` and :func:`accept_restart`, with a :class:`Signal` between them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiortc
from aiortc import RTCIceParameters

from aiortc_restart import RTCIceCandidatePair, RTCIceGatherer, RTCIceTransport
from aiortc_restart.ice import create_credentials
from aiortc_restart.ice.generation import IceGeneration

from .network import Address, Network
from .utils import until

CONTROLLING = {"alice": True, "bob": False}
"The roles after a first negotiation which alice offered."


@dataclass
class Signal:
    """
    What a description says about a transport.
    """

    parameters: RTCIceParameters
    candidates: list[aiortc.RTCIceCandidate]


async def accept_restart(transport: RTCIceTransport, answer: Signal) -> None:
    """
    Apply the answer to a restart which the transport offered.
    """
    transport.propose(remote=answer.parameters)
    await add_candidates(transport, answer)
    transport.agree(answerer=False)


async def add_candidates(transport: RTCIceTransport, signal: Signal) -> None:
    for candidate in signal.candidates:
        await transport.addRemoteCandidate(candidate)


async def answer_restart(transport: RTCIceTransport, offer: Signal) -> Signal:
    """
    Follow a restart which the peer offers, and return the answer.
    """
    transport.propose(create_credentials(), offer.parameters)
    await add_candidates(transport, offer)
    await transport.iceGatherer.gather()
    transport.agree(answerer=True)
    return described(transport)


@contextlib.asynccontextmanager
async def chatter(
    network: Network, sender: RTCIceTransport, receiver: RTCIceTransport
) -> AsyncIterator[None]:
    """
    Send something every 20 ms.
    """

    async def send() -> None:
        while True:
            await sender._send(rtp_like("data"))
            await asyncio.sleep(0.02)

    async def receive() -> None:
        while True:
            await receiver._recv()

    tasks = [asyncio.create_task(send()), asyncio.create_task(receive())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@contextlib.asynccontextmanager
async def connected_transports(
    network: Network, **options: Any
) -> AsyncIterator[tuple[RTCIceTransport, RTCIceTransport]]:
    """
    Connect a transport of alice, which is controlling, and one of bob.

    :param options: Arguments for `RTCIceTransport()`.
    """
    alice = make_transport(network, "alice", **options)
    bob = make_transport(network, "bob", **options)
    try:
        for transport in (alice, bob):
            await transport.iceGatherer.gather()
        for local, remote in ((alice, bob), (bob, alice)):
            signal = described(remote)
            local.propose(remote=signal.parameters)
            await add_candidates(local, signal)
            await local.addRemoteCandidate(None)
        await asyncio.gather(
            alice.start(bob.local_parameters), bob.start(alice.local_parameters)
        )
        yield alice, bob
    finally:
        await asyncio.gather(alice.stop(), bob.stop())


def current(transport: RTCIceTransport) -> IceGeneration:
    """
    Return the generation which has been negotiated last.
    """
    return transport._current


def active(transport: RTCIceTransport) -> IceGeneration:
    """
    Return the generation which sends.
    """
    assert transport._active is not None
    return transport._active


def described(transport: RTCIceTransport) -> Signal:
    return Signal(
        parameters=transport.iceGatherer.getLocalParameters(),
        candidates=transport.iceGatherer.getLocalCandidates(),
    )


def rtp_like(text: str | int) -> bytes:
    """
    Return a datagram which begins as RTP does, so that a transport takes it.
    """
    return b"\x80" + str(text).encode()


async def exchange(first: RTCIceTransport, second: RTCIceTransport) -> None:
    """
    Send a datagram each way and read it.
    """
    for sender, receiver in ((first, second), (second, first)):
        data = rtp_like(f"{sender.role} {asyncio.get_running_loop().time()}")
        await sender._send(data)
        async with asyncio.timeout(1):
            assert await receiver._recv() == data


def fragment(generation: IceGeneration) -> str:
    return str(generation.local.usernameFragment)


def make_gatherer(network: Network, host: str, **options: Any) -> RTCIceGatherer:
    options.setdefault("iceServers", [])
    return network.at(host, RTCIceGatherer)(**options)


def make_transport(
    network: Network,
    host: str,
    iceServers: list[aiortc.RTCIceServer] | None = None,
    **options: Any,
) -> RTCIceTransport:
    """
    Make a transport on a host, with the role of a first negotiation offered by alice.
    """
    gatherer = make_gatherer(network, host, iceServers=iceServers or [])
    transport = network.at(host, RTCIceTransport)(gatherer, **options)
    transport._connection.ice_controlling = CONTROLLING[host]
    return transport


async def offer_restart(transport: RTCIceTransport) -> Signal:
    """
    Begin a restart, gather, and return the offer.
    """
    transport.propose(create_credentials())
    await transport.iceGatherer.gather()
    return described(transport)


def pairs_selected(transport: RTCIceTransport) -> list[RTCIceCandidatePair]:
    """
    Record the pairs which a transport selects from now on.
    """
    pairs: list[RTCIceCandidatePair] = []

    def selected() -> None:
        pair = transport.getSelectedCandidatePair()
        assert pair is not None
        pairs.append(pair)

    transport.on("selectedcandidatepairchange", selected)
    return pairs


def unreachable() -> Signal:
    """
    Return another candidate, at which nobody is.
    """
    candidate = aiortc.RTCIceCandidate(
        component=1,
        foundation="1",
        ip="10.0.9.9",
        port=9999,
        priority=1,
        protocol="udp",
        type="host",
    )
    return Signal(RTCIceParameters(), [candidate])


async def restart(offerer: RTCIceTransport, answerer: RTCIceTransport) -> None:
    """
    Restart, and wait until both sides have switched.
    """
    offer = await offer_restart(offerer)
    answer = await answer_restart(answerer, offer)
    await accept_restart(offerer, answer)
    await switched(offerer, answerer)


def socket_address(generation: IceGeneration) -> Address:
    """
    Return the address of a generation's only socket.
    """
    (candidate,) = generation.connection.local_candidates
    return (candidate.host, candidate.port)


def states_of(transport: RTCIceTransport) -> list[str]:
    """
    Record the states which a transport has from now on, beginning with this one.
    """
    history = [transport.state]
    transport.on("statechange", lambda: history.append(transport.state))
    return history


async def switched(*transports: RTCIceTransport) -> None:
    """
    Wait until transports send on the generation which was negotiated last.
    """
    await until(
        lambda: all(
            x._active is x._current and x.state == "completed" for x in transports
        ),
        message=lambda: f"not switched: {[x.state for x in transports]}",
    )


def set_tie_breaker(transport: RTCIceTransport, value: int) -> None:
    transport._tie_breaker = value
    for generation in transport.generations:
        generation.connection.tie_breaker = value
