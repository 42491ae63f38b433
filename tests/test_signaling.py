"""
The signaling states: which description leads from which to which (webrtc-pc
#dom-rtcsignalingstate), and that the others change nothing.
"""

import itertools
from collections.abc import Awaitable, Callable

import pytest

from aiortc_restart import InvalidStateError, RTCPeerConnection, RTCSessionDescription
from aiortc_restart.negotiation.signaling import TRANSITIONS

from .calls import ROLLBACK, answered, offered, peers
from .network import Network
from .snapshots import nothing_changes, slots
from .utils import connected_pair, states

STATES = (
    "stable",
    "have-local-offer",
    "have-remote-offer",
    "have-local-pranswer",
    "have-remote-pranswer",
)
SIDES = ("local", "remote")
TYPES = ("offer", "pranswer", "answer", "rollback")

Peers = tuple[RTCPeerConnection, RTCPeerConnection]


# As webrtc-pc has it: by state, and by "side type".
ALLOWED = {
    "stable": {
        "local offer": "have-local-offer",
        "remote offer": "have-remote-offer",
    },
    "have-local-offer": {
        "local offer": "have-local-offer",
        "local rollback": "stable",
        "remote answer": "stable",
        "remote pranswer": "have-remote-pranswer",
        "remote rollback": "stable",
    },
    "have-remote-offer": {
        "remote offer": "have-remote-offer",
        "local rollback": "stable",
        "local answer": "stable",
        "local pranswer": "have-local-pranswer",
        "remote rollback": "stable",
    },
    "have-local-pranswer": {
        "local pranswer": "have-local-pranswer",
        "local answer": "stable",
    },
    "have-remote-pranswer": {
        "remote pranswer": "have-remote-pranswer",
        "remote answer": "stable",
    },
    "closed": {},
}

# An offer of the peer's meets our own: that is rolled back first (webrtc-pc
# #dom-peerconnection-setremotedescription).
GLARE = ("have-local-offer", "remote", "offer")


def as_type(description: RTCSessionDescription, type: str) -> RTCSessionDescription:
    return RTCSessionDescription(sdp=description.sdp, type=type)


async def have_local_offer(pc: RTCPeerConnection, other: RTCPeerConnection) -> None:
    await offered(pc)


async def have_remote_offer(pc: RTCPeerConnection, other: RTCPeerConnection) -> None:
    await pc.setRemoteDescription(await offered(other))


async def have_local_pranswer(pc: RTCPeerConnection, other: RTCPeerConnection) -> None:
    await have_remote_offer(pc, other)
    await pc.setLocalDescription(as_type(await pc.createAnswer(), "pranswer"))


async def have_remote_pranswer(pc: RTCPeerConnection, other: RTCPeerConnection) -> None:
    await have_local_offer(pc, other)
    answer = await answered(other, pc.localDescription)
    await pc.setRemoteDescription(as_type(answer, "pranswer"))


async def stable(pc: RTCPeerConnection, other: RTCPeerConnection) -> None:
    pass


DRIVE: dict[str, Callable[..., Awaitable[None]]] = {
    "stable": stable,
    "have-local-offer": have_local_offer,
    "have-remote-offer": have_remote_offer,
    "have-local-pranswer": have_local_pranswer,
    "have-remote-pranswer": have_remote_pranswer,
}


async def description_of(
    pc: RTCPeerConnection, other: RTCPeerConnection, side: str, type: str
) -> RTCSessionDescription:
    """
    Return a description which would do, if the signaling state allowed it.
    """
    if type == "rollback":
        return ROLLBACK
    if type == "offer":
        if side == "local" and pc.signalingState in ("stable", "have-local-offer"):
            return await pc.createOffer()
        if side == "local" and pc.localDescription is not None:
            return as_type(pc.localDescription, type)
        if pc.remoteDescription is not None and pc.remoteDescription.type == "offer":
            return pc.remoteDescription
        return await other.createOffer()
    if side == "local" and pc.signalingState in (
        "have-remote-offer",
        "have-local-pranswer",
    ):
        return as_type(await pc.createAnswer(), type)
    if side == "remote" and pc.signalingState == "have-local-offer":
        return as_type(await answered(other, pc.localDescription), type)
    if side == "remote" and pc.signalingState == "have-remote-pranswer":
        return as_type(pc.remoteDescription, type)
    # There is nothing to answer: it is the state that forbids it.
    said = pc.localDescription if side == "local" else pc.remoteDescription
    return as_type(said or await other.createOffer(), type)


async def apply(
    pc: RTCPeerConnection, side: str, description: RTCSessionDescription
) -> None:
    if side == "local":
        await pc.setLocalDescription(description)
    else:
        await pc.setRemoteDescription(description)


def test_table() -> None:
    """
    The table is the one of the specification, to the last entry.
    """
    for state, side, type in itertools.product([*STATES, "closed"], SIDES, TYPES):
        allowed = ALLOWED[state].get(f"{side} {type}")
        assert TRANSITIONS.get((state, side, type)) == allowed
    assert len(TRANSITIONS) == sum(len(x) for x in ALLOWED.values())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
async def test_transition(
    network: Network, connected: bool, state: str, side: str, type: str
) -> None:
    """
    In each state a connection takes the descriptions which the table allows, and from
    the others nothing changes.
    """
    if connected:
        async with connected_pair(network) as pair:
            await check_transition((pair.offerer, pair.answerer), state, side, type)
    else:
        async with peers(network) as both:
            for pc in both:
                pc.createDataChannel("test")
                pc.addTransceiver("audio")
            await check_transition(both, state, side, type)


async def check_transition(both: Peers, state: str, side: str, type: str) -> None:
    pc, other = both
    await DRIVE[state](pc, other)
    assert pc.signalingState == state
    description = await description_of(pc, other, side, type)
    history = states(pc)
    if (state, side, type) == GLARE:
        await apply(pc, side, description)
        assert history.signaling == [state, "stable", "have-remote-offer"]
        return
    following = ALLOWED[state].get(f"{side} {type}")
    if following is None:
        with (
            nothing_changes(pc),
            pytest.raises(
                InvalidStateError,
                match=f'^Cannot handle {type} in signaling state "{state}"$',
            ),
        ):
            await apply(pc, side, description)
        return
    await apply(pc, side, description)
    assert history.signaling == list(dict.fromkeys([state, following]))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("type", TYPES)
async def test_closed(network: Network, side: str, type: str) -> None:
    """
    A closed connection takes no description, not even a rollback.
    """
    async with connected_pair(network) as pair:
        description = await description_of(pair.offerer, pair.answerer, side, type)
        await offered(pair.offerer)
        await pair.offerer.close()
        said = slots(pair.offerer)
        with pytest.raises(InvalidStateError, match="RTCPeerConnection is closed"):
            await apply(pair.offerer, side, description)
        assert pair.offerer.signalingState == "closed"
        assert slots(pair.offerer) == said


@pytest.mark.parametrize("state", STATES)
async def test_without_argument(network: Network, state: str) -> None:
    """
    `setLocalDescription()` answers where an answer is due and offers elsewhere, also
    anew in place of an offer.
    """
    # webrtc-pc #dom-peerconnection-setlocaldescription
    async with connected_pair(network) as pair:
        pc = pair.offerer
        await DRIVE[state](pc, pair.answerer)
        before = pc.localDescription
        history = states(pc)
        if state == "have-remote-pranswer":
            with (
                nothing_changes(pc),
                pytest.raises(InvalidStateError, match="Cannot create offer"),
            ):
                await pc.setLocalDescription()
            return
        await pc.setLocalDescription()
        if state in ("stable", "have-local-offer"):
            assert pc.localDescription.type == "offer"
            assert pc.localDescription != before
            assert history.signaling[-1] == "have-local-offer"
        else:
            assert pc.localDescription.type == "answer"
            assert history.signaling == [state, "stable"]
