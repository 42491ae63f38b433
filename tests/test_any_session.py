"""
Whatever the two sides negotiate, in whatever order, it holds together.
"""

import asyncio
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aiortc_restart import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver

from .browser import Browser, Session
from .calls import (
    RETIREMENT,
    Unbundled,
    answered,
    ice_transports,
    offered,
    paths,
    switched,
)
from .network import Network, run
from .utils import negotiate

Step = tuple[str, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "audio",
                "video",
                "channel",
                "preferences",
                "plain",
                "restart",
                "restartIce",
                "replaced",
                "given up",
            ]
        ),
        st.integers(0, 1),
    ),
    max_size=12,
)


async def take(step: str, pc: RTCPeerConnection, other: RTCPeerConnection) -> list[Any]:
    """
    Take a step by one of the peers, and return the descriptions which were exchanged.
    """
    if step in ("audio", "video"):
        if len(pc.getTransceivers()) < 6:
            pc.addTransceiver(step)
    elif step == "channel":
        pc.createDataChannel("another")
    elif step == "preferences":
        for transceiver in pc.getTransceivers():
            capabilities = RTCRtpReceiver.getCapabilities(transceiver.kind)
            assert capabilities is not None
            codecs = [x for x in capabilities.codecs if x.name != "rtx"]
            transceiver.setCodecPreferences(codecs[::-1])
    elif step == "restartIce":
        pc.restartIce()
    elif step == "replaced":
        # The peer has seen the first offer.
        first = await offered(pc, iceRestart=True)
        await other.setRemoteDescription(first)
        second = await offered(pc, iceRestart=True)
        answer = await answered(other, second)
        await pc.setRemoteDescription(answer)
        return [first, second, answer]
    elif step == "given up":
        first = await offered(pc, iceRestart=True)
        return [first, *await negotiate(pc, other)]
    else:
        return [*await negotiate(pc, other, iceRestart=step == "restart")]
    return []


async def session(
    network: Network, steps: list[Step], kinds: list[type[RTCPeerConnection]]
) -> None:
    configuration = RTCConfiguration(iceServers=[])
    peers = [
        network.at(name, kind)(configuration)
        for name, kind in zip(("alice", "bob"), kinds, strict=True)
    ]
    try:
        peers[0].createDataChannel("test")
        peers[0].addTransceiver("audio")
        ledger = Session()
        ledger.add(*await negotiate(*peers))
        await switched(*peers)
        for step, index in steps:
            ledger.add(*await take(step, peers[index], peers[1 - index]))
        # Both have the chance to say what they have not said.
        for pc, other in (peers, peers[::-1]):
            ledger.add(*await negotiate(pc, other))
        await switched(*peers)
        ours, theirs = (paths(x) for x in peers)
        assert [(b, a) for a, b in ours] == theirs
        await asyncio.sleep(RETIREMENT)
        for name, pc in zip(("alice", "bob"), peers, strict=True):
            assert network.sockets(name) == len(ice_transports(pc))
            assert [len(x.generations) for x in ice_transports(pc)] == [1] * len(
                ice_transports(pc)
            )
            assert pc.connectionState == "connected"
    finally:
        for pc in peers:
            await pc.close()


@given(
    steps=STEPS,
    kinds=st.permutations([Browser, RTCPeerConnection])
    | st.just([Unbundled, RTCPeerConnection]),
)
@example(steps=[("video", 0), ("video", 0)], kinds=[Browser, RTCPeerConnection])
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_session(steps: list[Step], kinds: list[type[RTCPeerConnection]]) -> None:
    """
    After any negotiations by both sides, all of them on one path and no number reused.
    """
    run(session, steps, kinds)
