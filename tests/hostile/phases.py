"""
A call on the simulated network, attacked in each of its phases.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiortc_restart import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
)
from aiortc_restart.ice.generation import IceGeneration

from ..calls import (
    RETIREMENT,
    answered,
    ice_transport,
    ice_transports,
    offered,
    path,
    peers,
    restart,
    switched,
)
from ..found import trickle as exchange_candidates
from ..media import Packets
from ..network import Address, Network
from ..utils import Pair, until

LATENCY = 0.02
"Seconds that a datagram takes, so that what is sent in a phase arrives in it."

PHASES = (
    "described",
    "checking",
    "handshake",
    "connected",
    "restart offered",
    "restart answered",
    "restart checking",
    "switched",
)
"""
The phases in their order: the offerer has its sockets; both sides check; DTLS is
connecting; messages flow; then the same of a restart, up to the retirement of the old
sockets.
"""

Attack = Callable[["Call"], Awaitable[None]]
"What is done in a phase."


class Call:
    """
    Two peers, "alice" and "bob", and how far they have come.
    """

    def __init__(
        self, network: Network, alice: RTCPeerConnection, bob: RTCPeerConnection
    ) -> None:
        self.alice = alice
        self.bob = bob
        self.channel: RTCDataChannel = alice.createDataChannel("test")
        self.network = network
        self.phase = ""
        self.remote_channel: RTCDataChannel | None = None
        bob.on("datachannel", self._opened)

    @property
    def pair(self) -> Pair:
        assert self.remote_channel is not None
        return Pair(self.alice, self.bob, self.channel, self.remote_channel)

    @property
    def peers(self) -> list[RTCPeerConnection]:
        return [self.alice, self.bob]

    @property
    def targets(self) -> list[tuple[Address, Address]]:
        """
        Each open port, with an address of the other side.
        """
        ports = {name: sockets(self.network, name) for name in ("alice", "bob")}
        # Before the answer, the other side has no port yet.
        nobody: dict[str, Address] = {"alice": ("10.0.1.1", 9), "bob": ("10.0.2.1", 9)}
        return [
            (port, (ports[other] or [nobody[other]])[-1])
            for name, other in (("alice", "bob"), ("bob", "alice"))
            for port in ports[name]
        ]

    def _opened(self, channel: RTCDataChannel) -> None:
        self.remote_channel = channel


async def walk(
    network: Network,
    attack: Attack,
    *,
    by: str = "alice",
    trickle: bool = False,
    media: bool = False,
) -> None:
    """
    Let a call take its phases, attack it in each of them, and assert that it comes up,
    goes on, switches, and that a restart by the other side works then.

    :param by: Who offers the restart.
    :param trickle: Whether the peers trickle.
    :param media: Whether sound flows both ways.
    """
    network.delay(LATENCY)
    configuration = RTCConfiguration(iceServers=[], iceTrickle=trickle)
    async with peers(network, configuration=configuration) as (alice, bob):
        call = Call(network, alice, bob)
        if trickle:
            exchange_candidates(alice, bob)
        tracks = [Packets() for _ in call.peers] if media else []
        for pc, track in zip(call.peers, tracks, strict=False):
            pc.addTrack(track)
        async for phase in _phases(call, by):
            call.phase = phase
            # Who trickles gathers after the description is there.
            await until(lambda: call.targets)
            await attack(call)
        if by == "bob":
            await restart(alice, bob)
        else:
            await restart(bob, alice)
        await call.pair.exchange()
        assert [x.connectionState for x in call.peers] == ["connected"] * 2
        for track in tracks:
            track.stop()


@contextlib.asynccontextmanager
async def unmoved(*pcs: RTCPeerConnection) -> AsyncIterator[None]:
    """
    Assert that what happens within moves no path: the selected pairs, the generations,
    the roles and the states stay as they are, and no event says anything else.
    """
    before = [standing(x) for x in pcs]
    fired: list[str] = []
    listeners: list[tuple[Any, str, Callable[[], None]]] = []
    for pc in pcs:
        transport = ice_transport(pc)
        for emitter, name in (
            (pc, "iceconnectionstatechange"),
            (pc, "connectionstatechange"),
            (transport, "selectedcandidatepairchange"),
            (transport, "statechange"),
        ):

            def listen(name: str = name) -> None:
                fired.append(name)

            listeners.append((emitter, name, listen))
            emitter.on(name, listen)
    yield
    assert [standing(x) for x in pcs] == before
    assert fired == []
    for emitter, name, listener in listeners:
        emitter.remove_listener(name, listener)


def generations(*pcs: RTCPeerConnection) -> list[IceGeneration]:
    """
    Return the generations of peers' transports.
    """
    return [
        generation
        for pc in pcs
        for transport in ice_transports(pc)
        for generation in transport.generations
    ]


def packets_received(*pcs: RTCPeerConnection) -> list[int]:
    """
    Return how many packets of RTP each peer has taken, of whichever source.
    """
    # The statistics know one source of a receiver only, the latest.
    return [
        sum(
            stream.packets_received
            for receiver in pc.getReceivers()
            for stream in vars(receiver)["_RTCRtpReceiver__remote_streams"].values()
        )
        for pc in pcs
    ]


def sockets(network: Network, host: str) -> list[Address]:
    """
    Return the addresses of a host's open sockets, the oldest first.
    """
    return sorted(x.local for x in network._hosts[host].sockets)


def standing(pc: RTCPeerConnection) -> tuple[object, ...]:
    """
    Return what an attack must not change of a connected peer.
    """
    transport = ice_transport(pc)
    pair = transport.getSelectedCandidatePair()
    assert pair is not None
    return (
        path(transport),
        (pair.local.ip, pair.local.port, pair.remote.ip, pair.remote.port),
        transport.role,
        transport.state,
        pc.iceConnectionState,
        pc.connectionState,
        pc.signalingState,
        pc.sctp and pc.sctp.transport.state,
    )


async def _phases(call: Call, by: str) -> AsyncIterator[str]:
    alice, bob = call.peers
    offer = await offered(alice)
    yield "described"
    answer = await answered(bob, offer)
    await alice.setRemoteDescription(answer)
    yield "checking"
    await until(lambda: "connecting" in _dtls_states(call), message=str(call.phase))
    yield "handshake"
    await until(
        lambda: (
            call.channel.readyState == "open"
            and call.remote_channel is not None
            and [x.connectionState for x in call.peers] == ["connected"] * 2
        ),
        message=lambda: (
            f"not connected: {[x.connectionState for x in call.peers]}, "
            f"DTLS {_dtls_states(call)}, channel {call.channel.readyState}"
        ),
    )
    yield "connected"
    await call.pair.exchange()
    offerer, answerer = (alice, bob) if by == "alice" else (bob, alice)
    offer = await offered(offerer, iceRestart=True)
    yield "restart offered"
    await call.pair.exchange()
    answer = await answered(answerer, offer)
    yield "restart answered"
    await offerer.setRemoteDescription(answer)
    yield "restart checking"
    await switched(offerer, answerer)
    yield "switched"
    await call.pair.exchange()
    await asyncio.sleep(RETIREMENT)


def _dtls_states(call: Call) -> list[str]:
    return [x.sctp.transport.state for x in call.peers if x.sctp is not None]
