"""
Trickling in the corners: restarts which fail, nulls which come in between, switches.
"""

import asyncio
import re
from unittest import mock

import aioice.ice
import pytest
from aioice import stun
from aiortc import RTCSessionDescription
from aiortc.exceptions import OperationError

from aiortc_restart import RTCIceCandidate, RTCPeerConnection
from aiortc_restart.ice.stun import StunProtocol
from aiortc_restart.negotiation.places import HOLDING_TIME

from .calls import Unbundled, answered, ice_transport, offered, sections, ufrag_of
from .network import Network
from .test_add_ice_candidate import add_audio, known, without_candidates
from .test_held_candidates import candidate
from .trickling import Trickling, trickling
from .utils import connected_pair, sdp_edit, states, until

SLOW, FAST = "10.0.5.1", "10.0.5.2"


def selected(pc: RTCPeerConnection) -> set[str]:
    """
    Return the addresses of the selected pair.
    """
    pair = ice_transport(pc).getSelectedCandidatePair()
    return {pair.local.ip, pair.remote.ip} if pair is not None else set()


async def begin(call: Trickling, *passed: str) -> RTCIceCandidate:
    """
    Negotiate, with the candidates of some addresses, and return bob's fast one.
    """
    later: list[RTCIceCandidate] = []

    def passes(x: RTCIceCandidate | None) -> bool:
        if x is not None and x.ip == FAST:
            later.append(x)
        return x is not None and x.ip in passed

    call.passes = passes
    await call.negotiate(call.alice)
    await until(lambda: later)
    return later[0]


# The first pair


@pytest.mark.parametrize(("slow", "gap"), [(0.1, 0.005), (0.3, 0.005), (0.1, 0.03)])
async def test_first_pair_is_left(network: Network, slow: float, gap: float) -> None:
    """
    When a faster pair takes the place of the first one both sides end on that, though
    the first nomination arrives last.
    """
    network.readdress("bob", SLOW, FAST)
    network.delay(0.01)
    network.delay(slow, "alice", SLOW)
    async with trickling(network, 0.01) as (call, channel):
        fast = await begin(call, SLOW)
        await asyncio.sleep(gap)
        await call.alice.addIceCandidate(fast)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(8)
        assert selected(call.alice) == selected(call.bob) == {"10.0.1.1", FAST}


async def test_first_pair_fails(network: Network) -> None:
    """
    A first pair whose check has failed is not nominated by a later one, which does not
    tell the peer.
    """
    network.readdress("bob", SLOW, FAST)
    network.delay(0.01)
    request = StunProtocol.request
    failed: list[stun.Message] = []

    async def fail_first(
        protocol: StunProtocol, message: stun.Message, *args: object, **kwargs: object
    ) -> object:
        if "USE-CANDIDATE" in message.attributes and not failed:
            failed.append(message)
            raise stun.TransactionTimeout
        return await request(protocol, message, *args, **kwargs)  # type: ignore[arg-type]

    async with trickling(network, 0.01) as (call, channel):
        with mock.patch.object(StunProtocol, "request", fail_first):
            network.cut("bob")
            fast = await begin(call, SLOW, "10.0.1.1")
            await until(lambda: failed)
            await call.alice.addIceCandidate(fast)
            network.cut(FAST)
            network.heal("bob")
            await until(lambda: channel.readyState == "open")
        assert selected(call.alice) == selected(call.bob) == {"10.0.1.1", SLOW}


# Gathering


async def test_restart_fails_while_gathering(network: Network) -> None:
    """
    Gathering ends with a restart that fails, and is told of at the next one.
    """
    async with trickling(network, servers=True) as (call, channel):
        settings = call.alice.getConfiguration()
        settings.iceRestartTimeout = 2.0
        call.alice.setConfiguration(settings)
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(8)
        network.cut("alice")
        call.passes = lambda _: False
        for heard in (True, True):
            call.events["alice"].clear()
            call.alice.restartIce()
            await call.negotiate(call.alice)
            await asyncio.sleep(15)
            assert call.alice.iceGatheringState == "complete"
            names = [x for x in call.names("alice") if x in ("gathering", "complete")]
            assert names == ["gathering", "complete"] and heard


async def test_gathering_raises(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What gathering raises is logged, its end is told, and the next restart works.
    """
    async with trickling(network) as (call, channel):
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(1)
        call.events["alice"].clear()
        failure = mock.patch.object(
            aioice.ice, "get_host_addresses", side_effect=RuntimeError
        )
        with failure:
            await call.alice.setLocalDescription(
                await call.alice.createOffer(iceRestart=True)
            )
            await asyncio.sleep(1)
        assert call.names("alice") == ["gathering", "end", "complete", "null"]
        assert "cannot gather candidates" in caplog.text
        call.alice.restartIce()
        await call.negotiate(call.alice)
        await until(lambda: call.alice.iceConnectionState == "completed")


async def test_offer_while_gathering(network: Network) -> None:
    """
    What createOffer() returns says that candidates have ended only if they have.
    """
    async with trickling(network, servers=True) as (call, channel):
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await call.alice.setLocalDescription(
            await call.alice.createOffer(iceRestart=True)
        )
        offer = await call.alice.createOffer()
        assert "a=candidate" in offer.sdp
        assert "a=end-of-candidates" not in offer.sdp


async def test_nothing_gathered(network: Network) -> None:
    """
    Who gathers nothing tells no end: a section that is bundled has no candidates.
    """
    async with trickling(network) as (call, channel):
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(1)
        call.events["bob"].clear()
        call.alice.addTransceiver("audio")
        await call.negotiate(call.alice)
        await asyncio.sleep(1)
        assert "null" not in call.names("bob")


async def test_closing(network: Network) -> None:
    """
    A connection which is being closed tells of no candidate.
    """
    async with trickling(network, servers=True) as (call, _):
        call.alice.addTransceiver("audio")
        await call.alice.setLocalDescription()
        await call.alice.close()
        await asyncio.sleep(10)
        assert not {"host", "end", "null"} & set(call.names("alice"))


# Ends


async def test_null_before_the_answer(network: Network) -> None:
    """
    A null which comes between a restart's offer and its answer is taken note of, and
    ends nothing.
    """
    async with trickling(network) as (call, channel):
        call.passes = lambda x: x is None or bool(x.candidate)
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        call.alice.restartIce()
        await call.alice.setLocalDescription()
        await call.bob.setRemoteDescription(call.alice.localDescription)
        await asyncio.sleep(0.2)
        await call.bob.addIceCandidate(
            candidate(1, ufrag_of(call.alice.localDescription))
        )
        await call.bob.setLocalDescription()
        await call.alice.setRemoteDescription(call.bob.localDescription)
        assert 1025 in known(ice_transport(call.bob))
        await until(lambda: call.bob.iceConnectionState == "completed", timeout=60)


@pytest.mark.parametrize("named", [True, False])
async def test_late_null(network: Network, named: bool) -> None:
    """
    A null of the generation before which comes after the answer ends nothing, and is
    not taken for the end of a peer whose ends have names.
    """
    async with trickling(network) as (call, channel):
        call.passes = lambda x: named or (x is not None and bool(x.candidate))
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(5)
        call.passes = lambda x: x is not None and bool(x.candidate)
        call.alice.restartIce()
        await call.negotiate(call.alice)
        await asyncio.sleep(0.1)
        await call.alice.addIceCandidate(None)
        await asyncio.sleep(0.1)
        assert "a=end-of-candidates" not in call.alice.remoteDescription.sdp
        # Others would never be completed.
        state = "connected" if named else "completed"
        assert call.alice.iceConnectionState == state
        name = ufrag_of(call.bob.localDescription)
        await call.alice.addIceCandidate(candidate(1, name))
        await call.alice.addIceCandidate(
            RTCIceCandidate.fromJSON(
                {"candidate": "", "sdpMid": "0", "usernameFragment": name}
            )
        )
        assert "a=end-of-candidates" in call.alice.remoteDescription.sdp
        assert call.alice.iceConnectionState == "completed"


async def test_switched_off_before_the_answer(network: Network) -> None:
    """
    A first connection fails, also if trickle was on when the offer came, and is off
    when it is answered.
    """
    network.cut("alice")
    async with trickling(network) as (call, _):
        history = states(call.bob)
        await call.alice.setLocalDescription()
        await until(lambda: call.alice.iceGatheringState == "complete")
        await call.bob.setRemoteDescription(call.alice.localDescription)
        settings = call.bob.getConfiguration()
        settings.iceTrickle = False
        call.bob.setConfiguration(settings)
        await call.bob.setLocalDescription()
        await asyncio.sleep(60)
        assert history.ice == ["new", "checking", "failed"]


async def test_end_overtakes(network: Network) -> None:
    """
    An end which is held before its candidates comes behind them.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        name = ufrag_of(offer)
        end = RTCIceCandidate.fromJSON(
            {"candidate": "", "sdpMid": "0", "usernameFragment": name}
        )
        await pair.answerer.addIceCandidate(end)
        await pair.answerer.addIceCandidate(candidate(1, name))
        await pair.answerer.setRemoteDescription(without_candidates(offer))
        await asyncio.sleep(0)
        assert sections(pair.answerer.remoteDescription)[0].ice_candidates_complete
        generation = ice_transport(pair.answerer).generations[-1]
        assert [x.port for x in generation.connection.remote_candidates] == [1025]
        await pair.offerer.setRemoteDescription(await answered(pair.answerer, offer))


# What is held


async def test_hostile(network: Network) -> None:
    """
    What can be of no description, or is too big, is refused, and time frees the rest.
    """
    async with connected_pair(network) as pair:
        for name, mid in (("x" * 257, "0"), ("bad!", "0"), ("good", "x" * 2000)):
            with pytest.raises(OperationError, match="no such candidate"):
                await pair.answerer.addIceCandidate(candidate(1, name, mid))
        await pair.answerer.addIceCandidate(candidate(1, "good", "7"))
        assert len(pair.answerer._session.candidates._held_candidates) == 1
        await asyncio.sleep(2 * HOLDING_TIME)
        assert len(pair.answerer._session.candidates._held_candidates) == 0


async def test_partial_restart(network: Network) -> None:
    """
    A late candidate of the generation which a section has had is ignored, though
    another section still has it.
    """
    async with connected_pair(network, offerer=Unbundled, prepare=add_audio) as pair:
        old = ufrag_of(pair.offerer.localDescription)
        plain = await pair.offerer.createOffer()
        offer = sdp_edit(plain, ufrag="otherufrag", pwd=30 * "p", mids=["0"])
        await pair.offerer.setLocalDescription(offer)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(5)
        await pair.answerer.addIceCandidate(candidate(1, old, mid="0"))
        assert len(pair.answerer._session.candidates._held_candidates) == 0
        assert 1025 not in known(ice_transport(pair.answerer))


async def test_duplicates(network: Network) -> None:
    """
    A candidate which comes again takes no other's place.
    """
    async with trickling(network) as (call, _):
        call.passes = lambda _: False
        await call.alice.setLocalDescription()
        await call.bob.setRemoteDescription(call.alice.localDescription)
        name = ufrag_of(call.alice.localDescription)
        for number in [*(100 * [1]), 2]:
            await call.bob.addIceCandidate(candidate(number, name))
        connection = ice_transport(call.bob)._connection
        assert [x.port for x in connection.remote_candidates] == [1025, 1026]
        said: RTCSessionDescription = call.bob.remoteDescription
        assert len(re.findall("a=candidate", said.sdp)) == 2
