"""
Calls whose networks change under them, on the real one.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import cast

import aioice.ice
import aioice.stun
import aiortc
import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from ..calls import ice_transport, restart
from ..interop.coturn import MISSING, PASSWORD, USER, Coturn, coturn
from ..media import add_media, flowing
from ..network import Address
from ..utils import History, Pair, candidates, connected_pair, states, until
from .lab import Lab

QUICK = RTCConfiguration(
    iceServers=[], iceDisconnectedTimeout=1.0, iceFailedTimeout=None
)

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)


class Story:
    """
    A call with sound, pictures and numbered messages both ways, and what became of it.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.peers = [pair.offerer, pair.answerer]
        self.histories: list[History] = [states(x) for x in self.peers]
        self.received: list[list[object]] = [[], []]
        self.sent = 0
        self._before = [self._inside(x) for x in self.peers]
        for channel, received in zip(self.channels, self.received, strict=True):
            channel.on("message", received.append)

    @property
    def channels(self) -> list[aiortc.RTCDataChannel]:
        return [self.pair.channel, self.pair.remote_channel]

    async def check(self) -> None:
        """
        Assert that the call is what it was, and that nothing was lost.
        """
        await until(lambda: all(len(x) == self.sent for x in self.received))
        assert self.received == [[str(x) for x in range(self.sent)]] * 2
        await flowing(*self.peers)
        assert [self._inside(x) for x in self.peers] == self._before
        assert [x.connectionState for x in self.peers] == ["connected"] * 2
        for history in self.histories:
            assert "closed" not in history.connection

    async def send(self) -> None:
        while True:
            for channel in self.channels:
                channel.send(str(self.sent))
            self.sent += 1
            await asyncio.sleep(0.01)

    async def shown(self, state: str, *peers: RTCPeerConnection) -> None:
        """
        Wait until peers show a state of ICE.
        """
        await until(
            lambda: all(x.iceConnectionState == state for x in peers or self.peers),
            timeout=45,
        )

    def _inside(self, pc: RTCPeerConnection) -> list[object]:
        assert pc.sctp is not None
        found: list[object] = [pc.sctp, pc.sctp.transport, pc.sctp.transport._ssl]
        for x in pc.getTransceivers():
            found += [x, x.sender, x.sender.track, x.sender._ssrc, x.receiver.track]
        return found


@contextlib.asynccontextmanager
async def story(
    lab: Lab,
    configuration: RTCConfiguration,
    peers: type[RTCPeerConnection] = RTCPeerConnection,
) -> AsyncIterator[Story]:
    """
    A call between alice and bob.
    """
    async with connected_pair(
        lab,
        offerer=peers,
        answerer=peers,
        configuration=configuration,
        prepare=add_media,
    ) as pair:
        told = Story(pair)
        sending = asyncio.create_task(told.send())
        try:
            await flowing(*told.peers)
            yield told
        finally:
            sending.cancel()
            await asyncio.wait([sending])


def kind(pc: RTCPeerConnection) -> str:
    """
    Return the type of the local candidate on which a peer sends.
    """
    pair = ice_transport(pc).getSelectedCandidatePair()
    assert pair is not None
    return str(pair.local.type)


def path_of(pc: RTCPeerConnection) -> str:
    """
    Return the local address on which a peer sends.
    """
    pair = ice_transport(pc).getSelectedCandidatePair()
    assert pair is not None
    return str(pair.local.ip)


@pytest.mark.parametrize("variant", ["link down", "address removed", "dropped"])
@pytest.mark.parametrize("by", ["alice", "bob"])
async def test_handover(lab: Lab, variant: str, by: str) -> None:
    """
    When one path is gone and the other comes up, a restart by either side moves the
    call, and nothing is lost.
    """
    lab.link("alice", "lte", up=False)
    async with story(lab, QUICK) as told:
        alice, bob = told.peers
        assert path_of(alice) == lab.address("alice", "wifi")
        if variant == "link down":
            lab.link("alice", "wifi", up=False)
        elif variant == "address removed":
            lab.remove_address("alice", "wifi")
        else:
            lab.cut("wifi")
        await told.shown("disconnected")
        lab.link("alice", "lte", up=True)
        await restart(*((alice, bob) if by == "alice" else (bob, alice)))
        assert path_of(alice) == lab.address("alice", "lte")
        await told.check()
        for history in told.histories:
            assert history.ice == [
                *("completed", "disconnected", "checking", "completed")
            ]
            assert history.connection == [
                *("connected", "disconnected", "connecting", "connected")
            ]


async def test_handover_while_both_work(lab: Lab) -> None:
    """
    A restart while the old path still works loses nothing, not even a state.
    """
    lab.link("alice", "lte", up=False)
    async with story(lab, PATIENT) as told:
        lab.link("alice", "lte", up=True)
        await restart(*told.peers)
        lab.link("alice", "wifi", up=False)
        await restart(*told.peers)
        assert path_of(told.peers[0]) == lab.address("alice", "lte")
        await told.check()
        for history in told.histories:
            assert set(history.connection[1:]) <= {
                *("disconnected", "connecting", "connected")
            }


@pytest.mark.parametrize("seconds", [3, 8, 20])
async def test_blip(lab: Lab, seconds: int) -> None:
    """
    A path which heals by itself needs no restart.
    """
    lab.link("alice", "lte", up=False)
    async with story(lab, PATIENT) as told:
        lab.cut("wifi")
        await asyncio.sleep(seconds)
        lab.heal("wifi")
        await told.shown("completed")
        await told.check()
        for history in told.histories:
            if seconds == 3:
                assert history.ice == ["completed"]
            else:
                assert history.ice == ["completed", "disconnected", "completed"]
            assert "connecting" not in history.connection


async def test_long_outages(lab: Lab) -> None:
    """
    Calls outlive their consent, and a restart by either side brings them back: one on
    another path after 45 seconds, one on its own after 120 seconds.
    """
    loop = asyncio.get_running_loop()
    lab.link("alice", "lte", up=False)
    async with story(lab, PATIENT) as first, story(lab, PATIENT) as second:
        lab.cut("wifi")
        began = loop.time()
        await asyncio.gather(first.shown("failed"), second.shown("failed"))
        await asyncio.sleep(began + 45 - loop.time())
        lab.link("alice", "lte", up=True)
        alice, bob = first.peers
        await restart(bob, alice)
        await first.check()
        assert path_of(alice) == lab.address("alice", "lte")

        await asyncio.sleep(began + 120 - loop.time())
        assert {x.iceConnectionState for x in second.peers} == {"failed"}
        lab.link("alice", "lte", up=False)
        lab.heal("wifi")
        alice, bob = second.peers
        await restart(alice, bob)
        await second.check()
        assert path_of(alice) == lab.address("alice", "wifi")
        for history in (*first.histories, *second.histories):
            assert history.ice[:5] == [
                *("completed", "disconnected", "failed", "checking", "completed")
            ]
        for history in second.histories:
            assert len(history.ice) == 5


async def test_ip_versions(lab: Lab) -> None:
    """
    A call moves from IPv4 to IPv6, and back.
    """
    lab.link("alice", "lte", up=False)
    async with story(lab, QUICK) as told:
        alice, bob = told.peers
        for old, new in ((4, 6), (6, 4)):
            assert path_of(alice) == lab.address("alice", "wifi", old)
            for name in ("alice", "bob"):
                lab.remove_address(name, "wifi", old)
            await told.shown("disconnected")
            for name in ("alice", "bob"):
                lab.add_address(name, "wifi", new)
            await restart(alice, bob)
            assert path_of(alice) == lab.address("alice", "wifi", new)
        await told.check()


# In the middle


class Nat(asyncio.DatagramProtocol):
    """
    What one host sees of another's socket: a port of the NAT.

    :param nat: All ports, by the sockets behind them.
    :param behind: The socket behind it.
    """

    transport: asyncio.DatagramTransport

    def __init__(self, nat: "dict[Address, Nat]", behind: Address) -> None:
        self._behind = behind
        self._nat = nat

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if addr in self._nat:
            self._nat[addr].transport.sendto(data, self._behind)


async def open_port(lab: Lab, nat: dict[Address, Nat], behind: Address) -> Address:
    """
    Give a socket behind the NAT a port, in place of one that it may have.
    """
    if behind in nat:
        nat.pop(behind).transport.close()
    with lab.host("server"):
        _, nat[behind] = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Nat(nat, behind), local_addr=(lab.address("server", "wifi"), 0)
        )
    address: Address = nat[behind].transport.get_extra_info("sockname")
    return address


@contextlib.asynccontextmanager
async def closing(nat: dict[Address, Nat]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for port in nat.values():
            port.transport.close()


async def test_nat_rebinds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When a NAT gives alice another port, bob loses her, and a restart brings her back.
    """
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 2)
    nat: dict[Address, Nat] = {}

    class BehindNat(RTCPeerConnection):
        async def setRemoteDescription(
            self, sessionDescription: aiortc.RTCSessionDescription
        ) -> None:
            sdp = sessionDescription.sdp
            for address in {(x.ip, x.port) for x in candidates(sessionDescription)}:
                host, port = await open_port(lab, nat, address)
                sdp = sdp.replace(
                    f"{address[0]} {address[1]} typ", f"{host} {port} typ"
                )
            await super().setRemoteDescription(
                aiortc.RTCSessionDescription(sdp=sdp, type=sessionDescription.type)
            )

    for name in ("alice", "bob"):
        lab.link(name, "lte", up=False)
    async with (
        closing(nat),
        story(lab, PATIENT, peers=BehindNat) as told,
    ):
        alice, bob = told.peers
        address = lab.address("alice", "wifi")
        for behind in [x for x in nat if x[0] == address]:
            await open_port(lab, nat, behind)
        await told.shown("failed", bob)
        assert alice.iceConnectionState in ("completed", "disconnected")
        await restart(bob, alice)
        await told.check()


async def held(server: Coturn, allocations: int) -> None:
    """
    Wait until a relay holds so many allocations.
    """
    await until(lambda: server.live == allocations)


def relayed(server: Coturn, policy: str = "relay") -> RTCConfiguration:
    """
    Return a configuration with a relay.
    """
    return dataclasses.replace(
        QUICK,
        iceServers=[RTCIceServer(server.url, username=USER, credential=PASSWORD)],
        iceTransportPolicy=RTCIceTransportPolicy[policy.upper()],
    )


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
async def test_interface_of_a_relayed_call(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The interface which leads to the relay is gone: that is known with the next packet,
    whatever is set for silence, and over when it is back.
    """
    monkeypatch.setattr(aioice.stun, "RETRY_MAX", 2)
    async with coturn(lab.address("server", "wifi"), lab.command("server")) as server:
        configuration = dataclasses.replace(
            relayed(server), iceDisconnectedTimeout=None
        )
        async with story(lab, configuration) as told:
            alice, bob = told.peers
            lab.link("alice", "wifi", up=False)
            await told.shown("disconnected", alice)
            assert bob.iceConnectionState == "completed"
            lab.link("alice", "wifi", up=True)
            await told.shown("completed")
            await told.check()


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
async def test_relay_and_back(lab: Lab) -> None:
    """
    A call which has had no relay goes over one when it is told to, and over its direct
    path again; with the relayed generation its allocations go, too.
    """
    async with coturn(lab.address("server", "wifi"), lab.command("server")) as server:
        async with story(lab, QUICK) as told:
            for configuration, kinds, live in (
                (relayed(server), {"relay"}, 2),
                (relayed(server, "all"), {"host"}, 2),
                (relayed(server), {"relay"}, 2),
                (QUICK, {"host"}, 0),
            ):
                for pc in told.peers:
                    pc.setConfiguration(configuration)
                await restart(*told.peers)
                assert {kind(x) for x in told.peers} == kinds
                await held(server, live)
            assert server.has_made(6)
            await told.check()


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
async def test_relay_dies(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call goes to another relay when its own is gone, then to a direct path and back;
    no allocation of an old generation stays.
    """
    # Otherwise aioice begs the dead server for a minute to free its allocation.
    monkeypatch.setattr(aioice.stun, "RETRY_MAX", 2)

    wifi, lte = (
        coturn(lab.address("server", path), lab.command("server"))
        for path in ("wifi", "lte")
    )
    async with lte as second:
        async with contextlib.AsyncExitStack() as stack:
            first = await stack.enter_async_context(wifi)
            async with story(lab, relayed(first)) as told:
                assert {kind(x) for x in told.peers} == {"relay"}
                await until(lambda: first.live == 2)
                await stack.aclose()
                await told.shown("disconnected")
                for pc in told.peers:
                    pc.setConfiguration(relayed(second))
                await restart(*told.peers)
                assert {kind(x) for x in told.peers} == {"relay"}
                await until(lambda: second.live == 2)

                # To a direct path. The new generation has its allocations, too.
                for pc in told.peers:
                    pc.setConfiguration(relayed(second, "all"))
                await restart(*told.peers)
                assert {kind(x) for x in told.peers} == {"host"}
                await until(lambda: second.live == 2 and second.has_made(4))

                for pc in told.peers:
                    pc.setConfiguration(relayed(second))
                await restart(*told.peers)
                assert {kind(x) for x in told.peers} == {"relay"}
                await until(lambda: second.live == 2 and second.has_made(6))
                await told.check()
        await until(lambda: second.live == 0)
