"""
Calls whose networks change under them, on the real one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiortc
import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from ..calls import ice_transport, restart
from ..media import add_media, flowing
from ..utils import History, Pair, connected_pair, states, until
from .lab import Lab

pytestmark = pytest.mark.interop

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
    lab: Lab, configuration: RTCConfiguration, media: bool = True
) -> AsyncIterator[Story]:
    """
    A call between alice and bob.
    """
    prepare: Callable[..., Any] | None = add_media if media else None
    async with connected_pair(
        lab, configuration=configuration, prepare=prepare
    ) as pair:
        told = Story(pair)
        sending = asyncio.create_task(told.send())
        try:
            await flowing(*told.peers)
            yield told
        finally:
            sending.cancel()
            await asyncio.wait([sending])


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


@pytest.mark.parametrize("by", ["alice", "bob"])
async def test_long_outage(lab: Lab, by: str) -> None:
    """
    A call outlives its consent, and a restart brings it back.
    """
    lab.link("alice", "lte", up=False)
    async with story(lab, PATIENT) as told:
        lab.cut("wifi")
        await told.shown("failed")
        await asyncio.sleep(10)
        lab.heal("wifi")
        alice, bob = told.peers
        await restart(*((alice, bob) if by == "alice" else (bob, alice)))
        await told.check()
        for history in told.histories:
            assert history.ice == [
                *("completed", "disconnected", "failed", "checking", "completed")
            ]


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
