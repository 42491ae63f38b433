"""
The four descriptions, current and pending, local and remote, at every moment
(webrtc-pc #rtcpeerconnection-interface).
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import (
    ROLLBACK,
    SETTLING,
    answered,
    edited,
    offered,
    peers,
    sections,
    switched,
)
from .network import Network
from .probes import stun_server
from .snapshots import SLOTS, check_slots, slots, watch_slots
from .utils import Pair, candidates, connected_pair, credentials, negotiate, until

SLOW_SERVER = RTCConfiguration(iceServers=[RTCIceServer("stun:10.0.9.1:3478")])
NO_SERVER = RTCConfiguration(iceServers=[])

END = "^a=end-of-candidates\r\n"


def pranswer(answer: RTCSessionDescription) -> RTCSessionDescription:
    return RTCSessionDescription(sdp=answer.sdp, type="pranswer")


def said(pc: RTCPeerConnection, slot: str) -> RTCSessionDescription:
    description = getattr(pc, slot)
    assert isinstance(description, RTCSessionDescription)
    return description


async def test_exchange(network: Network) -> None:
    """
    Offer and answer are pending until the answer makes both current.
    """
    async with peers(network) as (offerer, answerer):
        watch_slots(offerer, answerer)
        offerer.createDataChannel("test")
        offerer.addTransceiver("audio")
        assert slots(offerer) == [None] * 4
        offer = await offered(offerer)
        assert slots(offerer) == [None, None, "offer", None]
        await answerer.setRemoteDescription(offer)
        assert slots(answerer) == [None, None, None, "offer"]
        await answerer.setLocalDescription()
        assert slots(answerer) == ["answer", "offer", None, None]
        await offerer.setRemoteDescription(answerer.localDescription)
        assert slots(offerer) == ["offer", "answer", None, None]
        # Each says what was said.
        assert offerer.currentLocalDescription == offer
        assert candidates(said(answerer, "currentRemoteDescription")) == candidates(
            offer
        )
        await switched(offerer, answerer)

        # The other way round, while the first ones are in force.
        await offered(answerer)
        assert slots(answerer) == ["answer", "offer", "offer", None]
        await offerer.setRemoteDescription(answerer.localDescription)
        assert slots(offerer) == ["offer", "answer", None, "offer"]
        await offerer.setLocalDescription()
        assert slots(offerer) == ["answer", "offer", None, None]
        await answerer.setRemoteDescription(offerer.localDescription)
        assert slots(answerer) == ["offer", "answer", None, None]


async def plain(pair: Pair) -> None:
    await negotiate(pair.offerer, pair.answerer)


async def restart(pair: Pair) -> None:
    await negotiate(pair.offerer, pair.answerer, iceRestart=True)
    await switched(pair.offerer, pair.answerer)


async def provisional(pair: Pair) -> None:
    await pair.answerer.setRemoteDescription(
        await offered(pair.offerer, iceRestart=True)
    )
    answer = await pair.answerer.createAnswer()
    await pair.answerer.setLocalDescription(pranswer(answer))
    await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
    await pair.answerer.setLocalDescription()
    await pair.offerer.setRemoteDescription(pair.answerer.localDescription)


async def rolled_back(pair: Pair) -> None:
    await pair.answerer.setRemoteDescription(
        await offered(pair.offerer, iceRestart=True)
    )
    await pair.offerer.setLocalDescription(ROLLBACK)
    await pair.answerer.setRemoteDescription(ROLLBACK)


async def glare(pair: Pair) -> None:
    offer = await offered(pair.offerer, iceRestart=True)
    await offered(pair.answerer, iceRestart=True)
    await pair.offerer.setRemoteDescription(
        await answered(pair.answerer, offer),
    )


async def media(pair: Pair) -> None:
    pair.offerer.addTransceiver("audio")
    pair.answerer.addTransceiver("video")
    await negotiate(pair.offerer, pair.answerer)
    await negotiate(pair.answerer, pair.offerer)


@pytest.mark.parametrize(
    "step", [plain, restart, provisional, rolled_back, glare, media]
)
async def test_in_handlers(
    network: Network, step: Callable[[Pair], Awaitable[None]]
) -> None:
    """
    The handlers of all events see the descriptions that fit the signaling state.
    """

    def prepare(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
        offerer.addTransceiver("video")
        watch_slots(offerer, answerer)

    async with connected_pair(network, prepare=prepare) as pair:
        for _ in range(2):
            await step(pair)
            await pair.exchange()
            for pc in (pair.offerer, pair.answerer):
                check_slots(pc)


async def test_while_gathering(network: Network) -> None:
    """
    A description is in its slot before its candidates are, and a handler of
    `"icegatheringstatechange"` finds it complete.
    """
    server = await stun_server(network, *([1.0] * 4))
    async with connected_pair(
        network, configuration=SLOW_SERVER, answerer_configuration=NO_SERVER
    ) as pair:
        pc = pair.offerer
        seen: list[tuple[str, list[str | None], int]] = []
        pc.on(
            "icegatheringstatechange",
            lambda: seen.append(
                (pc.iceGatheringState, slots(pc), len(candidates(pc.localDescription)))
            ),
        )
        offer = await offered(pc, iceRestart=True)
        pending = ["offer", "answer", "offer", None]
        assert [x[:2] for x in seen] == [
            ("gathering", pending),
            ("complete", pending),
        ]
        assert seen[0][2] == 0
        await until(lambda: len(candidates(pc.localDescription)) == 2)
        assert candidates(offer) == candidates(pc.localDescription)
        await pc.setRemoteDescription(await answered(pair.answerer, offer))
    server.close()


async def test_answered_while_gathering(network: Network) -> None:
    """
    Candidates which are found after the answer has come are in the description which
    has become current meanwhile.
    """
    server = await stun_server(network, *([1.0] * 4))
    async with connected_pair(
        network, configuration=SLOW_SERVER, answerer_configuration=NO_SERVER
    ) as pair:
        watch_slots(pair.offerer)
        pc = pair.offerer
        gathering = asyncio.create_task(offered(pc, iceRestart=True))
        await until(lambda: pc.signalingState == "have-local-offer")
        answer = await answered(pair.answerer, pc.localDescription)
        await pc.setRemoteDescription(answer)
        assert slots(pc) == ["offer", "answer", None, None]
        assert len(candidates(said(pc, "currentLocalDescription"))) == 1
        await gathering
        assert slots(pc) == ["offer", "answer", None, None]
        assert len(candidates(said(pc, "currentLocalDescription"))) == 2
        assert [x.ice_candidates_complete for x in sections(pc.localDescription)] == [
            True
        ]
    server.close()


async def test_next_offer_while_gathering(network: Network) -> None:
    """
    Candidates of a generation which is current are not those of the one that is
    pending meanwhile: each description has its own.
    """
    server = await stun_server(network, *([1.0] * 4), *([3.0] * 4))
    async with connected_pair(
        network, configuration=SLOW_SERVER, answerer_configuration=NO_SERVER
    ) as pair:
        pc = pair.offerer
        first = asyncio.create_task(offered(pc, iceRestart=True))
        await until(lambda: pc.signalingState == "have-local-offer")
        answer = await answered(pair.answerer, pc.localDescription)
        await pc.setRemoteDescription(answer)
        second = asyncio.create_task(offered(pc, iceRestart=True))
        await asyncio.gather(first, second)
        assert slots(pc) == ["offer", "answer", "offer", None]
        current, pending = (said(pc, x) for x in (SLOTS[0], SLOTS[2]))
        assert set(credentials(current)).isdisjoint(credentials(pending))
        assert len(candidates(current)) == len(candidates(pending)) == 2
        ports = [{x.port for x in candidates(y)} for y in (current, pending)]
        assert ports[0].isdisjoint(ports[1])
    server.close()


async def test_candidates_added(network: Network) -> None:
    """
    A candidate of the peer's is in the description of its generation, and only there.
    """
    async with connected_pair(network) as pair:
        pc = pair.answerer
        old = edited(pc.remoteDescription, END, "")
        offer = edited(await offered(pair.offerer, iceRestart=True), END, "")
        await pc.setRemoteDescription(offer)
        found = candidates(offer)[0]
        for number, description in enumerate((offer, old)):
            ((name, _), *_) = credentials(description)
            added = RTCIceCandidate.fromJSON(
                {
                    "candidate": f"candidate:9 1 udp 1 10.0.7.{number} 9 typ host",
                    "sdpMid": found.sdpMid,
                    "usernameFragment": name,
                }
            )
            await pc.addIceCandidate(added)
        addresses = {
            name: [x.ip for x in candidates(said(pc, name))]
            for name in SLOTS
            if "Remote" in name
        }
        assert addresses["pendingRemoteDescription"] == ["10.0.1.1", "10.0.7.0"]
        # The old generation's candidates have ended (RFC 8838 section 14).
        assert addresses["currentRemoteDescription"] == ["10.0.1.1"]
        await asyncio.sleep(SETTLING)
