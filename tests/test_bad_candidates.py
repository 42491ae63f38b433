"""
Candidates which belong to no generation in force: those which may have overtaken their
description are held for it (see tests/test_trickle_held.py), late ones are ignored.
"""

import aiortc
import pytest

from aiortc_restart import RTCIceCandidate

from .calls import (
    ice_transport,
    ice_transports,
    offered,
    peers,
    provisional,
    restart,
    sections,
    switched,
    ufrag_of,
    unharmed,
)
from .network import Network
from .utils import Pair, candidates, connected_pair

PORT = 4444
"A port which no other candidate has."


async def keep_out(pair: Pair, candidate: RTCIceCandidate, held: bool = True) -> None:
    """
    Assert that a candidate gets into no generation of the answerer's.

    :param held: Whether it is held for a description that may come.
    """
    said = pair.answerer.remoteDescription
    await pair.answerer.addIceCandidate(candidate)
    assert len(pair.answerer._session.candidates._held_candidates) == held
    assert pair.answerer.remoteDescription == said
    for generation in ice_transport(pair.answerer).generations:
        ports = [x.port for x in generation.connection.remote_candidates]
        assert PORT not in ports


def renamed(candidate: aiortc.RTCIceCandidate, username: str) -> RTCIceCandidate:
    fields = {**vars(candidate), "port": PORT, "usernameFragment": username}
    return RTCIceCandidate(**fields)


@pytest.mark.parametrize("pending", [False, True], ids=["stable", "pending"])
async def test_unknown(network: Network, pending: bool) -> None:
    """
    A candidate of a generation which no description has named changes nothing.
    """
    # webrtc-pc #dom-peerconnection-addicecandidate
    async with connected_pair(network) as pair, unharmed(network, pair):
        if pending:
            offer = await offered(pair.offerer, iceRestart=True)
            await pair.answerer.setRemoteDescription(offer)
        (candidate,) = candidates(pair.offerer.localDescription)
        await keep_out(pair, renamed(candidate, "unknown"))


async def test_unknown_initial(network: Network) -> None:
    """
    Nor does one which comes after a first offer and before its answer.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        await answerer.setRemoteDescription(await offered(offerer))
        (candidate,) = candidates(offerer.localDescription)
        said = answerer.remoteDescription
        await answerer.addIceCandidate(renamed(candidate, "unknown"))
        assert answerer.remoteDescription == said


@pytest.mark.parametrize("restarts", [1, 3])
async def test_retired(network: Network, restarts: int) -> None:
    """
    A late candidate of an earlier generation is ignored and never gets into a new one.
    """
    async with connected_pair(network) as pair:
        (candidate,) = candidates(pair.offerer.localDescription)
        username = ufrag_of(pair.offerer.localDescription)
        for _ in range(restarts):
            await restart(pair.offerer, pair.answerer)
        async with unharmed(network, pair):
            await keep_out(pair, renamed(candidate, username), held=False)


@pytest.mark.parametrize("by", ["offerer", "answerer"])
async def test_replaced_provisionally(network: Network, by: str) -> None:
    """
    A candidate of a generation which a provisional answer has replaced is ignored, and
    so is the end of its candidates, though the current description still names it.
    """
    async with connected_pair(network) as pair:
        peer, pc = pair.offerer, pair.answerer
        (candidate,) = candidates(peer.localDescription)
        username = ufrag_of(peer.localDescription)
        offerer, answerer = (peer, pc) if by == "offerer" else (pc, peer)
        await answerer.setRemoteDescription(await offered(offerer, iceRestart=True))
        answer = await answerer.createAnswer()
        await answerer.setLocalDescription(provisional(answer))
        await offerer.setRemoteDescription(answerer.localDescription)
        current = pc.currentRemoteDescription
        assert current is not None
        assert ufrag_of(current) == username
        late = renamed(candidate, username)
        end = RTCIceCandidate.fromJSON(
            {"candidate": "", "sdpMid": late.sdpMid, "usernameFragment": username}
        )
        assert end is not None
        for ignored in (late, end):
            await keep_out(pair, ignored, held=False)
            assert pc.currentRemoteDescription == current
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await keep_out(pair, late, held=False)
        await pair.exchange()


async def test_replaced(network: Network) -> None:
    """
    A candidate of a restart offer which another has replaced changes nothing.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        first = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(first)
        second = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(second)
        (candidate,) = candidates(first)
        await keep_out(pair, renamed(candidate, ufrag_of(first)))


async def test_not_yet_answered(network: Network) -> None:
    """
    A candidate which overtakes the answer to our restart does not get into the old
    generation.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        await offered(pair.answerer, iceRestart=True)
        (candidate,) = candidates(pair.offerer.localDescription)
        await keep_out(pair, renamed(candidate, "tooearly"))


@pytest.mark.parametrize("named", ["current", "pending", "none"])
async def test_while_unanswered(network: Network, named: str) -> None:
    """
    While a restart is unanswered a candidate is of the generation that it names, or of
    the new one.
    """
    # webrtc-pc #dom-peerconnection-addicecandidate
    async with connected_pair(network) as pair, unharmed(network, pair):
        old = ufrag_of(pair.offerer.localDescription)
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        new = ufrag_of(offer)
        candidate = renamed(candidates(offer)[0], old if named == "current" else new)
        if named == "none":
            candidate.usernameFragment = None
        await pair.answerer.addIceCandidate(candidate)
        found = [
            PORT in [y.port for y in x.connection.remote_candidates]
            for x in ice_transport(pair.answerer).generations
        ]
        # The old generation has had all its candidates, and ignores what comes after.
        assert found == [False, named != "current"]


@pytest.mark.parametrize("by", ["mid", "index"])
async def test_section_named_once(network: Network, by: str) -> None:
    """
    A candidate which names its section in one way gets there, and nowhere else.
    """
    async with connected_pair(network) as pair:
        # This one has no section yet, and so neither mid nor index.
        pair.answerer.addTransceiver("audio")
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        candidate = renamed(candidates(offer)[0], ufrag_of(offer))
        candidate.sdpMid = "0" if by == "mid" else None
        candidate.sdpMLineIndex = 0 if by == "index" else None
        await pair.answerer.addIceCandidate(candidate)
        other, transport = ice_transports(pair.answerer)
        for x, expected in ((transport, True), (other, False)):
            *_, generation = x.generations
            ports = [y.port for y in generation.connection.remote_candidates]
            assert (PORT in ports) == expected
        (shown,) = sections(pair.answerer.remoteDescription)
        assert PORT in [x.port for x in shown.ice_candidates]
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)


async def test_without_section(network: Network) -> None:
    """
    A candidate has to name its section.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        (candidate,) = candidates(pair.offerer.localDescription)
        candidate.sdpMid = candidate.sdpMLineIndex = None
        with pytest.raises(ValueError, match="either sdpMid or sdpMLineIndex"):
            await pair.answerer.addIceCandidate(candidate)


async def test_after_the_end(network: Network) -> None:
    """
    A candidate which comes after the end of candidates is ignored.
    """
    # RFC 8838 section 14
    async with connected_pair(network) as pair, unharmed(network, pair):
        (candidate,) = candidates(pair.offerer.localDescription)
        username = ufrag_of(pair.offerer.localDescription)
        known = ice_transport(pair.answerer).getRemoteCandidates()
        await pair.answerer.addIceCandidate(renamed(candidate, username))
        assert ice_transport(pair.answerer).getRemoteCandidates() == known


async def test_end_while_unanswered(network: Network) -> None:
    """
    An end of candidates, which names no generation, ends none that is still to come.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        await pair.answerer.addIceCandidate(None)
        candidate = renamed(candidates(offer)[0], ufrag_of(offer))
        await pair.answerer.addIceCandidate(candidate)
        *_, pending = ice_transport(pair.answerer).generations
        assert PORT in [x.port for x in pending.connection.remote_candidates]
