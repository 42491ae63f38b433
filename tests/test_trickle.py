"""
Trickle ICE (RFC 8838): the order of events, what descriptions show, and the states.
"""

import asyncio
import re

import pytest
from aiortc import RTCSessionDescription

from aiortc_restart import RTCConfiguration, RTCIceCandidate

from .agents import current
from .calls import edited, ice_transport, offered, peers, ufrag_of
from .found import trickle
from .network import Network
from .probes import checks, stun_server
from .trickling import trickling
from .utils import connected_pair, event, negotiate, states, until

DELAY = 0.05


def without_option(description: RTCSessionDescription) -> RTCSessionDescription:
    """
    Return the description as a peer makes it which does not trickle.
    """
    sdp = re.sub(r"a=ice-options:[^\n]*\n", "", description.sdp)
    return RTCSessionDescription(sdp=sdp, type=description.type)


async def test_at_once(network: Network) -> None:
    """
    setLocalDescription() returns at once, before gathering begins, also to who awaits a
    task.
    """
    async with trickling(network, servers=True) as (call, _):
        await asyncio.gather(call.alice.setLocalDescription())
        assert network.now == 0
        assert call.alice.iceGatheringState == "new"
        assert call.names("alice") == []
        for _ in range(100):
            if call.names("alice"):
                break
            await asyncio.sleep(0)
        assert network.now == 0
        assert call.alice.iceGatheringState == "gathering"
        assert call.names("alice") == ["gathering"]
        sdp = call.alice.localDescription.sdp
        assert "a=candidate" not in sdp and "a=end-of-candidates" not in sdp
        assert "a=ice-options:trickle" in sdp
        assert re.search(r"^m=application 9 ", sdp, re.M)


async def test_configured_meanwhile(network: Network) -> None:
    """
    What a description says of trickling holds for its generation, also if another
    configuration comes before gathering begins.
    """
    # RFC 8839 section 4.4.1.2.1
    async with trickling(network, servers=True) as (call, _):
        await call.alice.setLocalDescription()
        settings = call.alice.getConfiguration()
        settings.iceTrickle = False
        call.alice.setConfiguration(settings)
        await until(lambda: call.names("alice")[-1:] == ["null"])
        assert "a=ice-options:trickle" in call.alice.localDescription.sdp
        (generation,) = ice_transport(call.alice).generations
        assert generation.trickle


@pytest.mark.parametrize("trickle", [True, False])
async def test_events(network: Network, trickle: bool) -> None:
    """
    Each candidate is told when it is in the description, with its m-section and its
    generation; then their end, the state, and null (webrtc-pc
    #dfn-update-the-ice-gathering-state).
    """
    server = await stun_server(network, 1.0)
    async with trickling(network, servers=True) as (call, _):
        pc = call.alice
        settings = pc.getConfiguration()
        settings.iceTrickle = trickle
        pc.setConfiguration(settings)
        found: list[RTCIceCandidate | None] = []
        pc.on("icecandidate", found.append)
        await pc.setLocalDescription()
        assert network.now == (0 if trickle else pytest.approx(1))
        if not trickle:
            assert found[-1] is None
        await until(lambda: None in found)
        assert [x[:2] for x in call.events["alice"]] == [
            ("gathering", 0),
            ("host", 1),
            ("srflx", 2),
            ("end", 2),
            ("complete", 2),
            ("null", 2),
        ]
        assert [round(x[2]) for x in call.events["alice"]] == [0, 0, 1, 1, 1, 1]
        username = ufrag_of(pc.localDescription)
        assert {(x.sdpMid, x.sdpMLineIndex, x.component) for x in found if x} == {
            ("0", 0, 1)
        }
        assert [x.usernameFragment for x in found if x] == [username] * 3
        assert found[0] is not None and found[0].toJSON()["candidate"].endswith(
            f" typ host ufrag {username}"
        )
        assert pc.localDescription.sdp.count("a=end-of-candidates") == 1
    server.close()


async def test_states(network: Network) -> None:
    """
    Without any other server the states are those of a call which does not trickle, but
    for `"connected"`, when a pair is found and not all is known.
    """
    async with trickling(network, DELAY) as (call, channel):
        histories = states(call.alice), states(call.bob)
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await until(lambda: all(x.ice[-1] == "completed" for x in histories))
        for history in histories:
            assert history.ice == ["new", "checking", "connected", "completed"]
            assert history.connection == ["new", "connecting", "connected"]
            assert history.gathering == ["new", "gathering", "complete"]


async def test_completed(network: Network) -> None:
    """
    A connection is `"completed"` when both have gathered, the peer has said so, and no
    check is left (webrtc-pc #dom-rtcicetransportstate).
    """
    server = await stun_server(network, 2.0, 4.0)
    async with trickling(network, servers=True) as (call, channel):
        histories = states(call.alice), states(call.bob)
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        assert network.now < 1
        for seconds in (1.0, 3.0):
            await asyncio.sleep(seconds - network.now)
            assert [x.ice[-1] for x in histories] == ["connected", "connected"]
        await asyncio.sleep(4.1 - network.now)
        assert [x.ice[-1] for x in histories] == ["completed", "completed"]
    server.close()


async def test_never_ended(network: Network) -> None:
    """
    A peer which never says that its candidates have ended leaves it `"connected"`.
    """
    async with trickling(network) as (call, channel):
        call.passes = lambda x: x is not None and x.candidate != ""
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(60)
        assert call.alice.iceConnectionState == "connected"
        assert call.alice.connectionState == "connected"


@pytest.mark.parametrize("named", [True, False], ids=["empty candidate", "null"])
async def test_ended(network: Network, named: bool) -> None:
    """
    The end is told by an empty candidate, or by null, also in a restart.
    """
    async with trickling(network) as (call, channel):
        call.passes = lambda x: (x is None) != named or bool(x and x.candidate)
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        for pc in (call.alice, call.bob):
            await until(lambda: call.alice.iceConnectionState == "completed")
            pc.restartIce()
            await call.negotiate(pc)
            await until(lambda: call.alice.iceConnectionState == "completed")


async def test_restarts(network: Network) -> None:
    """
    A restart gathers and tells its candidates again, under its own name, and while a
    server is silent the call goes on, on the new path.
    """
    async with trickling(network, servers=True) as (call, channel):
        named: list[str | None] = []
        call.alice.on(
            "icecandidate", lambda x: named.append(x.usernameFragment) if x else None
        )
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(6)
        for offerer in (call.alice, call.bob, call.alice):
            call.events["alice"].clear()
            named.clear()
            began = network.now
            switching = asyncio.create_task(
                event(ice_transport(offerer), "selectedcandidatepairchange")
            )
            offerer.restartIce()
            await call.negotiate(offerer)
            await switching
            assert network.now - began < 0.1
            await asyncio.sleep(6)
            names = call.names("alice")
            # The answerer's path is another one as soon as it has the answer.
            names.remove("connected")
            assert names == [
                *("gathering", "host", "end", "complete", "null"),
                "completed",
            ]
            assert set(named) == {ufrag_of(call.alice.localDescription)}


async def test_peer_that_does_not_trickle(network: Network) -> None:
    """
    A peer whose offer does not say that it trickles has all candidates in the answer,
    which is waited for, and is complete when it has a pair.
    """
    server = await stun_server(network, 1.0)
    async with trickling(network, servers=True) as (call, channel):
        settings = call.alice.getConfiguration()
        settings.iceTrickle = False
        settings.iceServers = []
        call.alice.setConfiguration(settings)
        call.passes = lambda _: False
        assert call.bob.canTrickleIceCandidates is None
        await call.alice.setLocalDescription()
        await call.bob.setRemoteDescription(call.alice.localDescription)
        assert call.bob.canTrickleIceCandidates is False
        await call.bob.setLocalDescription()
        assert network.now == pytest.approx(1)
        assert "a=end-of-candidates" in call.bob.localDescription.sdp
        await call.alice.setRemoteDescription(call.bob.localDescription)
        assert call.alice.canTrickleIceCandidates is True
        await until(lambda: channel.readyState == "open")
        await until(lambda: call.bob.iceConnectionState == "completed")
    server.close()


async def test_failed(network: Network) -> None:
    """
    A connection of which no pair works fails at the deadline, also if the peer never
    tells its last candidate, and a restart cures it.
    """
    # RFC 8863 section 3
    async with trickling(network) as (call, channel):
        network.cut("bob")
        histories = states(call.alice), states(call.bob)
        call.passes = lambda x: x is not None and x.candidate != ""
        await call.negotiate(call.alice)
        await asyncio.sleep(39)
        assert [x.ice for x in histories] == [["new", "checking"]] * 2
        await asyncio.sleep(1)
        assert [x.ice for x in histories] == [["new", "checking", "failed"]] * 2
        network.heal()
        call.passes = lambda _: True
        call.alice.restartIce()
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        assert histories[0].ice[3:5] == ["checking", "connected"]


async def test_candidates_only_by_themselves(network: Network) -> None:
    """
    Without any candidate from the answerer its checks bring up the call, as they tell
    where it is (RFC 8445 section 7.3.1.3).
    """
    async with trickling(network, DELAY) as (call, channel):
        call.passes = lambda x: False
        offering = asyncio.create_task(call.alice.setLocalDescription())
        await offering
        await until(lambda: call.names("alice")[-1:] == ["null"])
        await call.bob.setRemoteDescription(call.alice.localDescription)
        await call.bob.setLocalDescription()
        answer = call.bob.localDescription
        assert "a=candidate" not in answer.sdp
        await call.alice.setRemoteDescription(answer)
        await until(lambda: channel.readyState == "open")


async def test_early_checks(network: Network) -> None:
    """
    Checks of the answerer's which come before its answer are answered, so that the call
    is up when that arrives.
    """
    network.delay(DELAY)
    async with trickling(network, DELAY) as (call, channel):
        history = call.events["bob"]
        offerer, answerer = call.alice, call.bob
        await offerer.setLocalDescription()
        await asyncio.sleep(DELAY)
        await answerer.setRemoteDescription(offerer.localDescription)
        await answerer.setLocalDescription()
        began = network.now
        # Signaling is a second late.
        await asyncio.sleep(1)
        await offerer.setRemoteDescription(answerer.localDescription)
        arrived = network.now
        await until(lambda: channel.readyState == "open")
        times = {x[0]: x[2] for x in history}
        assert times["checking"] == pytest.approx(began)
        assert times["connected"] - arrived == pytest.approx(DELAY, abs=0.001)


async def test_priority_of_checks(network: Network) -> None:
    """
    In a restart, a check ranks an unknown candidate of ours as the candidate itself
    does, as libwebrtc prunes what ranks lower than its old pair; but not in a first
    connection.
    """
    # RFC 8445 section 7.1.1
    async with trickling(network) as (call, channel):
        known: list[RTCIceCandidate | None] = []
        call.alice.on("icecandidate", known.append)
        for overtaking in (False, True):
            if overtaking:
                call.alice.restartIce()
            network.cut("bob")
            await call.negotiate(call.alice)
            name = ufrag_of(call.bob.localDescription)
            for number, kind in enumerate(["relay", "srflx"], start=3):
                line = f"candidate:9 1 udp 9 10.0.9.{number} 9 typ {kind}"
                message = {"candidate": line, "sdpMid": "0", "usernameFragment": name}
                await call.alice.addIceCandidate(RTCIceCandidate.fromJSON(message))
            await asyncio.sleep(1)
            priority = next(x.priority for x in known if x is not None)
            reflexive = 110 << 24 | priority & 0xFFFFFF
            expected = priority if overtaking else reflexive
            sent = checks(network, current(ice_transport(call.alice)))
            assert {
                (x.destination[0], x.message.attributes["PRIORITY"])  # type: ignore[union-attr]
                for x in sent
            } == {
                ("10.0.2.1", expected),
                ("10.0.9.3", expected),
                ("10.0.9.4", expected),
            }
            network.heal()
            await until(lambda: channel.readyState == "open")


async def test_round_trips(network: Network) -> None:
    """
    One round trip of signaling and one of a check are all that it takes until the
    offerer has a pair, at first and in each restart, though candidates come behind the
    descriptions.
    """
    network.delay(DELAY)
    async with trickling(network, DELAY) as (call, channel):
        for offerer in (call.alice, call.alice, call.bob):
            began = network.now
            if offerer.localDescription:
                offerer.restartIce()
            negotiating = asyncio.create_task(call.negotiate(offerer))
            # It has its transport from the first channel on, or the first offer.
            await until(lambda x=offerer: x.sctp)  # type: ignore[misc]
            await event(ice_transport(offerer), "selectedcandidatepairchange")
            assert network.now - began == pytest.approx(4 * DELAY, abs=0.001)
            await negotiating
            await until(lambda: channel.readyState == "open")
            await asyncio.sleep(5)


async def test_nothing_to_check(network: Network) -> None:
    """
    A connection is `"new"` until a candidate of the peer's is known, from signaling or
    from a check (webrtc-pc #dom-rtcicetransportstate-checking).
    """
    async with trickling(network) as (call, channel):
        histories = states(call.alice), states(call.bob)
        kept: list[RTCIceCandidate] = []

        def passes(x: RTCIceCandidate | None) -> bool:
            kept.extend([x] if x is not None and x.ip == "10.0.1.1" else [])
            return False

        call.passes = passes
        await call.negotiate(call.alice)
        await asyncio.sleep(5)
        assert [x.ice for x in histories] == [["new"], ["new"]]
        await call.bob.addIceCandidate(kept[0])
        await until(lambda: channel.readyState == "open")
        assert [x.ice[:3] for x in histories] == [["new", "checking", "connected"]] * 2


async def test_rolled_back(network: Network) -> None:
    """
    A restart which is rolled back while it gathers tells no more candidates, and the
    old generation's are complete.
    """
    async with trickling(network, servers=True) as (call, channel):
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(6)
        events = call.events["alice"]
        events.clear()
        await call.alice.setLocalDescription(
            await call.alice.createOffer(iceRestart=True)
        )
        await asyncio.sleep(1)
        await call.alice.setLocalDescription(
            RTCSessionDescription(sdp="", type="rollback")
        )
        await asyncio.sleep(10)
        assert call.names("alice") == ["gathering", "host", "complete", "null"]
        assert call.alice.iceConnectionState == "completed"


async def test_replaced(network: Network) -> None:
    """
    A restart in the midst of another one's gathering ends that, and no candidate of it
    is told any more.
    """
    async with trickling(network, servers=True) as (call, channel):
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        await asyncio.sleep(6)
        told: list[tuple[float, str | None]] = []
        call.alice.on(
            "icecandidate",
            lambda x: told.append((network.now, x.usernameFragment if x else None)),
        )
        names = []
        for _ in range(3):
            await call.alice.setLocalDescription(
                await call.alice.createOffer(iceRestart=True)
            )
            names.append(ufrag_of(call.alice.localDescription))
            await asyncio.sleep(1)
        await asyncio.sleep(10)
        assert [x for _, x in told] == [*names, names[-1], None]


async def test_end_of_the_session(network: Network) -> None:
    """
    A description may say once, for the session, that all candidates have ended.
    """
    # RFC 8840 section 8
    async with trickling(network) as (call, channel):
        call.alice.addTransceiver("audio")
        call.passes = lambda x: x is not None and bool(x.candidate)
        await call.alice.setLocalDescription()
        await until(lambda: call.alice.iceGatheringState == "complete")
        offer = edited(
            edited(call.alice.localDescription, r"^a=end-of-candidates\r\n", ""),
            r"^t=0 0\r\n",
            r"\g<0>a=end-of-candidates\r\n",
        )
        await call.bob.setRemoteDescription(offer)
        said = call.bob.remoteDescription.sdp
        assert said.count("a=end-of-candidates") == said.count("m=") == 2
        await call.bob.setLocalDescription()
        await call.alice.setRemoteDescription(call.bob.localDescription)
        await until(lambda: channel.readyState == "open")
        await until(lambda: call.bob.iceConnectionState == "completed", timeout=5)
        assert call.alice.iceConnectionState == "connected"


async def test_closed(network: Network) -> None:
    """
    A connection which is closed while it gathers tells nothing more.
    """
    async with trickling(network, servers=True) as (call, _):
        await call.alice.setLocalDescription()
        await asyncio.sleep(1)
        before = call.names("alice")
        await call.alice.close()
        await asyncio.sleep(10)
        assert call.names("alice")[: len(before)] == before
        assert not {"end", "null", "complete"} & set(call.names("alice"))


async def test_off(network: Network) -> None:
    """
    Without trickle a description says nothing of it, and has all candidates.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        offer = await offered(offerer)
        assert "ice-options" not in offer.sdp
        assert "a=end-of-candidates" in offer.sdp
        await answerer.setRemoteDescription(without_option(offer))
        assert answerer.canTrickleIceCandidates is False


async def test_switched_on_later(network: Network) -> None:
    """
    Trickle may be switched on in a call, for what is gathered from then on.
    """
    async with connected_pair(network) as pair:
        settings = pair.offerer.getConfiguration()
        settings.iceTrickle = True
        settings.iceServers = []
        pair.offerer.setConfiguration(settings)
        pair.offerer.restartIce()
        # The peer has not said that it trickles.
        offer = await offered(pair.offerer)
        assert "a=ice-options:trickle" in offer.sdp
        assert "a=end-of-candidates" in offer.sdp


@pytest.mark.parametrize("trickles", [True, False])
@pytest.mark.parametrize("offers", [True, False])
async def test_option_stays(network: Network, trickles: bool, offers: bool) -> None:
    """
    The option of a generation stays what it was, also where a section is added, and is
    another one only with the next restart.
    """
    # RFC 8839 section 4.4.1.2.1
    option = "a=ice-options:trickle"
    configuration = RTCConfiguration(iceServers=[], iceTrickle=trickles)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        channel = offerer.createDataChannel("test")
        trickle(offerer, answerer)
        await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open")
        changed = offerer if offers else answerer
        changed.setConfiguration(
            RTCConfiguration(iceServers=[], iceTrickle=not trickles)
        )
        for restarts in (False, True, False):
            offerer.addTransceiver("audio")
            if restarts:
                offerer.restartIce()
            said = (await negotiate(offerer, answerer))[0 if offers else 1].sdp
            sections = said.count("m=")
            assert sections >= 2
            trickles = not trickles if restarts else trickles
            assert said.count(option) == (sections if trickles else 0)
            await until(lambda: changed.iceConnectionState == "completed")


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_not_a_bool(value: object) -> None:
    """
    Whether to trickle is yes or no.
    """
    with pytest.raises(ValueError, match="iceTrickle must be a bool"):
        RTCConfiguration(iceTrickle=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 256, 1.5, "1", None])
def test_bad_pool_size(value: object) -> None:
    """
    A pool of candidates would have a size from 0 to 255.
    """
    assert RTCConfiguration(iceCandidatePoolSize=255).iceCandidatePoolSize == 255
    with pytest.raises(ValueError, match="iceCandidatePoolSize must be from 0 to 255"):
        RTCConfiguration(iceCandidatePoolSize=value)  # type: ignore[arg-type]
