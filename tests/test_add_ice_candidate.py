"""
addIceCandidate(): which m-section and which generation a candidate is of, and where it
shows (webrtc-pc #dom-peerconnection-addicecandidate).
"""

import asyncio
import dataclasses
import logging

import pytest
from aiortc.exceptions import OperationError
from aiortc.sdp import MediaDescription, SessionDescription

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceTransport,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import (
    SETTLING,
    Unbundled,
    answered,
    edited,
    ice_transport,
    ice_transports,
    offered,
    parsed,
    peers,
    restart,
    switched,
    ufrag_of,
    unharmed,
)
from .network import Network
from .utils import (
    Pair,
    candidates,
    connected_pair,
    credentials,
    negotiate,
    sdp_edit,
    states,
    until,
)


def candidate(
    port: int,
    username: str | None = None,
    mid: str | None = "0",
    index: int | None = None,
) -> RTCIceCandidate:
    return RTCIceCandidate(
        component=1,
        foundation="1",
        ip="10.0.9.9",
        port=port,
        priority=1,
        protocol="udp",
        type="host",
        sdpMid=mid,
        sdpMLineIndex=index,
        usernameFragment=username,
    )


def end(
    username: str | None = None, mid: str | None = "0", index: int | None = None
) -> RTCIceCandidate:
    """
    Return the end of the candidates of an m-section, as Firefox sends it.
    """
    message = {"candidate": "", "sdpMid": mid, "sdpMLineIndex": index}
    made = RTCIceCandidate.fromJSON({**message, "usernameFragment": username})
    assert made is not None
    return made


def known(transport: RTCIceTransport, generation: int = -1) -> list[int]:
    """
    Return the ports of the remote candidates of a generation.
    """
    connection = transport.generations[generation].connection
    return [x.port for x in connection.remote_candidates]


def without_candidates(description: RTCSessionDescription) -> RTCSessionDescription:
    return edited(description, r"^a=(candidate|end-of-candidates)[^\n]*\n", "")


def said(description: SessionDescription | None, index: int = 0) -> MediaDescription:
    assert description is not None
    return description.media[index]


def shown(description: SessionDescription | None, index: int = 0) -> list[int]:
    """
    Return the ports of the candidates in a section of a description.
    """
    return [x.port for x in said(description, index).ice_candidates]


async def offer_restart(pair: Pair) -> tuple[str, str]:
    """
    Let the answerer have the offer of a restart, without candidates, and return the old
    and the new username fragment.
    """
    old = ufrag_of(pair.offerer.localDescription)
    offer = await offered(pair.offerer, iceRestart=True)
    await pair.answerer.setRemoteDescription(without_candidates(offer))
    return old, ufrag_of(offer)


def add_audio(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTransceiver("audio")
    answerer.addTransceiver("audio")


# The m-section


@pytest.mark.parametrize(
    ("mid", "index"), [("9", None), (None, 1), ("9", 0), ("", 0), (None, -1)]
)
@pytest.mark.parametrize("template", [candidate(4444), end()], ids=["candidate", "end"])
async def test_unknown_section(
    network: Network, template: RTCIceCandidate, mid: str | None, index: int | None
) -> None:
    """
    A candidate of an m-section which the remote description lacks is refused. The mid
    decides, if there is one.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        before = pair.answerer.remoteDescription
        with pytest.raises(OperationError, match="the remote description has none"):
            await pair.answerer.addIceCandidate(
                dataclasses.replace(template, sdpMid=mid, sdpMLineIndex=index)
            )
        assert pair.answerer.remoteDescription == before


async def test_mid_decides(network: Network) -> None:
    """
    Of two sections the one with the mid is meant, whatever the index says.
    """
    async with connected_pair(network, offerer=Unbundled, prepare=add_audio) as pair:
        await offer_restart(pair)
        await pair.answerer.addIceCandidate(candidate(1, mid="1", index=0))
        audio, data = ice_transports(pair.answerer)
        assert (known(audio), known(data)) == ([], [1])
        assert shown(parsed(pair.answerer).pending_remote, 0) == []
        assert shown(parsed(pair.answerer).pending_remote, 1) == [1]


async def test_stopped(network: Network) -> None:
    """
    A candidate of a stopped transceiver's section has no effect and is no error.
    """
    async with connected_pair(network, offerer=Unbundled, prepare=add_audio) as pair:
        (transceiver,) = pair.answerer.getTransceivers()
        await offer_restart(pair)
        await transceiver.stop()
        for x in (candidate(1), candidate(1, "unknown"), end()):
            await pair.answerer.addIceCandidate(x)
        audio, data = ice_transports(pair.answerer)
        assert known(audio) == known(data) == []
        assert shown(parsed(pair.answerer).pending_remote) == []
        await pair.answerer.addIceCandidate(candidate(2, mid="1"))
        assert known(data) == [2]


async def test_stopped_in_a_bundle(network: Network) -> None:
    """
    If the section is the BUNDLE-tag of others, these need its candidates.
    """
    async with connected_pair(network, prepare=add_audio) as pair:
        (transceiver,) = pair.answerer.getTransceivers()
        await offer_restart(pair)
        await transceiver.stop()
        await pair.answerer.addIceCandidate(candidate(1))
        assert known(ice_transport(pair.answerer)) == [1]


async def test_bundled_section(network: Network) -> None:
    """
    Candidates of a bundled section show there; those of the BUNDLE-tag are used.
    """
    # RFC 9429 section 3.5.1; Firefox trickles the sockets which it gives up then, too.
    async with connected_pair(network, prepare=add_audio) as pair:
        _, new = await offer_restart(pair)
        await pair.answerer.addIceCandidate(candidate(1, new, mid="1"))
        await pair.answerer.addIceCandidate(end(new, mid="1"))
        assert shown(parsed(pair.answerer).pending_remote, 1) == [1]
        assert said(parsed(pair.answerer).pending_remote, 1).ice_candidates_complete
        transport = ice_transport(pair.answerer)
        assert known(transport) == []
        await pair.answerer.addIceCandidate(candidate(2, new))
        assert known(transport) == [2]
        assert not said(parsed(pair.answerer).pending_remote).ice_candidates_complete


async def test_bundled_section_without_credentials(network: Network) -> None:
    """
    A bundled section may have its credentials in the BUNDLE-tag's only.
    """
    # RFC 9429 section 3.5.1
    async with connected_pair(network, prepare=add_audio) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        first, *others = offer.sdp.split("m=application")
        (other,) = others
        lines = [x for x in other.splitlines(True) if not x.startswith("a=ice-")]
        await pair.answerer.setRemoteDescription(
            RTCSessionDescription(
                sdp=first + "m=application" + "".join(lines), type="offer"
            )
        )
        await pair.answerer.addIceCandidate(candidate(1, ufrag_of(offer), mid="1"))
        assert 1 in shown(parsed(pair.answerer).pending_remote, 1)
        await pair.answerer.addIceCandidate(candidate(2, "unknown", mid="1"))
        assert 2 not in shown(parsed(pair.answerer).pending_remote, 1)


# The generation


@pytest.mark.parametrize("named", ["current", "pending", "none"])
async def test_recorded_while_unanswered(network: Network, named: str) -> None:
    """
    A candidate is recorded in the description of its generation and in no other.
    """
    async with peers(network) as (offerer, answerer):
        channel = offerer.createDataChannel("test")
        # Nothing has ended the candidates of the first generation.
        await answerer.setRemoteDescription(without_candidates(await offered(offerer)))
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await until(lambda: channel.readyState == "open")
        old = ufrag_of(offerer.localDescription)
        offer = await offered(offerer, iceRestart=True)
        await answerer.setRemoteDescription(without_candidates(offer))
        username = {"current": old, "pending": ufrag_of(offer), "none": None}[named]

        await answerer.addIceCandidate(candidate(1, username))
        is_current = named == "current"
        assert (1 in shown(parsed(answerer).current_remote)) == is_current
        assert (1 in shown(parsed(answerer).pending_remote)) != is_current
        transport = ice_transport(answerer)
        assert (1 in known(transport, 0)) == is_current
        assert (1 in known(transport, 1)) != is_current

        # When the restart is in force, the old description is gone.
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        assert (1 in shown(parsed(answerer).current_remote)) != is_current


@pytest.mark.parametrize("named", [True, False])
async def test_recorded_in_both(network: Network, named: bool) -> None:
    """
    During a negotiation without a restart both descriptions are of one generation.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        await answerer.setRemoteDescription(without_candidates(await offered(offerer)))
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        offer = await offered(offerer)
        await answerer.setRemoteDescription(without_candidates(offer))
        await answerer.addIceCandidate(candidate(1, ufrag_of(offer) if named else None))
        assert shown(parsed(answerer).current_remote) == [1]
        assert shown(parsed(answerer).pending_remote) == [1]


async def test_generation_of_another_section(network: Network) -> None:
    """
    A username fragment counts for the sections which have it.
    """
    async with connected_pair(network, offerer=Unbundled, prepare=add_audio) as pair:
        plain = await pair.offerer.createOffer()
        other = sdp_edit(plain, ufrag="otherufrag", pwd=30 * "p", mids=["0"])
        await pair.answerer.setRemoteDescription(without_candidates(other))
        await pair.answerer.addIceCandidate(candidate(1, "otherufrag", mid="0"))
        # The other section may have it yet.
        await pair.answerer.addIceCandidate(candidate(2, "otherufrag", mid="1"))
        audio, data = ice_transports(pair.answerer)
        assert known(audio) == [1]
        assert 2 not in known(data)


# The end of candidates


async def test_end_of_a_section(network: Network) -> None:
    """
    An empty candidate ends the candidates of one section: it shows there, and what
    comes later has no effect.
    """
    # RFC 8838 section 14
    async with connected_pair(network, offerer=Unbundled, prepare=add_audio) as pair:
        _, new = await offer_restart(pair)
        await pair.answerer.addIceCandidate(candidate(1, new))
        await pair.answerer.addIceCandidate(end(new))
        remote = parsed(pair.answerer).pending_remote
        ends = [said(remote, x).ice_candidates_complete for x in (0, 1)]
        assert ends == [True, False]
        await pair.answerer.addIceCandidate(candidate(2, new))
        await pair.answerer.addIceCandidate(candidate(2))
        await pair.answerer.addIceCandidate(end(new))
        await pair.answerer.addIceCandidate(candidate(3, new, mid="1"))
        audio, data = ice_transports(pair.answerer)
        assert (known(audio), known(data)) == ([1], [3])
        assert (shown(remote, 0), shown(remote, 1)) == ([1], [3])


async def test_end_logged(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """
    What is ignored can be seen in the log.
    """
    async with connected_pair(network) as pair:
        _, new = await offer_restart(pair)
        await pair.answerer.addIceCandidate(end(new))
        with caplog.at_level(logging.DEBUG, "aiortc_restart"):
            await pair.answerer.addIceCandidate(candidate(1, new))
        assert "ignores a candidate after end-of-candidates" in caplog.text


async def test_end_of_the_old_generation(network: Network) -> None:
    """
    It ends the generation which it names, and not the latest.
    """
    async with connected_pair(network) as pair:
        old, new = await offer_restart(pair)
        await pair.answerer.addIceCandidate(end(old))
        assert said(parsed(pair.answerer).current_remote).ice_candidates_complete
        assert not said(parsed(pair.answerer).pending_remote).ice_candidates_complete
        await pair.answerer.addIceCandidate(candidate(1, new))
        assert known(ice_transport(pair.answerer)) == [1]


async def test_end_of_an_unknown_generation(network: Network) -> None:
    """
    An end which names no generation in force ends the candidates of none.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        await offer_restart(pair)
        said = pair.answerer.remoteDescription
        await pair.answerer.addIceCandidate(end("unknown"))
        assert pair.answerer.remoteDescription == said


@pytest.mark.parametrize("what", ["null", "section", "nothing"])
@pytest.mark.parametrize("answered", [False, True])
async def test_end_without_generation(
    network: Network, what: str, answered: bool
) -> None:
    """
    An end which names no generation may be late: it ends no restart's candidates.
    """
    async with connected_pair(network) as pair:
        _, new = await offer_restart(pair)
        message = None if what == "null" else end()
        if message is not None and what == "nothing":
            message.sdpMid = None
        if answered:
            await pair.answerer.setLocalDescription()
        await pair.answerer.addIceCandidate(message)
        remote = (
            parsed(pair.answerer).pending_remote or parsed(pair.answerer).current_remote
        )
        assert not said(remote).ice_candidates_complete
        await pair.answerer.addIceCandidate(candidate(1, new))
        assert 1 in shown(remote)
        assert 1 in known(ice_transport(pair.answerer))


async def test_end_of_all(network: Network) -> None:
    """
    `None` ends the candidates of all sections of a first negotiation.
    """
    async with peers(network, offerer=Unbundled) as (offerer, answerer):
        offerer.addTransceiver("audio")
        offerer.createDataChannel("test")
        await answerer.setRemoteDescription(without_candidates(await offered(offerer)))
        await answerer.addIceCandidate(None)
        remote = parsed(answerer).pending_remote
        assert remote is not None
        assert [x.ice_candidates_complete for x in remote.media] == [True, True]
        for mid in "01":
            await answerer.addIceCandidate(candidate(1, mid=mid))
        assert [known(x) for x in ice_transports(answerer)] == [[], []]
        assert [x.ice_candidates for x in remote.media] == [[], []]


async def test_end_of_a_restart_is_not_its_failure(network: Network) -> None:
    """
    A restart whose candidates have ended, and lead nowhere, ends at its deadline.
    """
    # RFC 8863 section 3
    async with connected_pair(network) as pair:
        history = states(pair.answerer)
        _, new = await offer_restart(pair)
        await pair.answerer.addIceCandidate(candidate(1, new))
        await pair.answerer.addIceCandidate(end(new))
        # The peer never gets the answer, and no new socket reaches anybody.
        old = {
            x.local for name in ("alice", "bob") for x in network._hosts[name].sockets
        }
        network.filter = lambda datagram: datagram.source in old
        began = network.now
        await pair.answerer.setLocalDescription()
        await until(lambda: history.ice[-2:] == ["connected", "completed"], timeout=60)
        assert network.now - began == pytest.approx(39.5, abs=0.2)
        await pair.exchange()


async def test_end_of_a_section_fails(network: Network) -> None:
    """
    A first generation whose candidates have ended, and lead nowhere, fails by then.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        offer = without_candidates(await offered(offerer))
        await answerer.setRemoteDescription(offer)
        await answerer.setLocalDescription()
        network.cut()
        await answerer.addIceCandidate(candidate(1))
        await asyncio.sleep(SETTLING)
        assert answerer.iceConnectionState == "checking"
        await answerer.addIceCandidate(end(ufrag_of(offer)))
        await until(lambda: answerer.iceConnectionState == "failed", timeout=70)


# Before the remote description


@pytest.mark.parametrize("by", ["mid", "index"])
async def test_early(network: Network, by: str) -> None:
    """
    A candidate which comes before the remote description gets to its section's
    transport, as in aiortc, and to no other.
    """
    async with peers(network) as (offerer, _):
        offerer.addTransceiver("audio")
        offerer.createDataChannel("test")
        await offered(offerer)
        for port in range(1, 500):
            await offerer.addIceCandidate(
                candidate(port, mid="1" if by == "mid" else None, index=1)
            )
        audio, data = ice_transports(offerer)
        assert known(audio) == []
        assert known(data) == list(range(1, 101))


@pytest.mark.parametrize("index", [None, 0, 7])
async def test_early_of_no_section(network: Network, index: int | None) -> None:
    """
    It goes nowhere if there is no such section, and neither does an end of candidates.
    """
    async with peers(network) as (offerer, answerer):
        # These have no section yet, and so neither mid nor index.
        answerer.addTransceiver("audio")
        answerer.createDataChannel("test")
        mid = "0" if index is None else None
        await answerer.addIceCandidate(candidate(1, mid=mid, index=index))
        await answerer.addIceCandidate(end(mid=mid, index=index))
        await answerer.addIceCandidate(None)
        assert [known(x) for x in ice_transports(answerer)] == [[], []]
        # What the description brings is used.
        offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        await until(lambda: offerer.connectionState == "connected")


async def test_early_end(network: Network) -> None:
    """
    An end of candidates before the answer does not end those of the answer.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        offer = await offered(offerer)
        await offerer.addIceCandidate(end())
        await offerer.addIceCandidate(None)
        await offerer.setRemoteDescription(await answered(answerer, offer))
        assert len(ice_transport(offerer).getRemoteCandidates()) == 1
        await switched(offerer, answerer)


# Names which take long to resolve


@pytest.mark.parametrize("moment", ["stable", "pending"])
async def test_slow_name(
    network: Network, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """
    A name that is being resolved shows in the description, and holds nothing back.
    """
    async with connected_pair(network) as pair:
        _, new = await offer_restart(pair)
        if moment == "stable":
            await pair.answerer.setLocalDescription()
            await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        transport = ice_transport(pair.answerer)
        add_remote_candidate = transport.addRemoteCandidate
        resolved = asyncio.Event()

        async def resolve(x: RTCIceCandidate | None) -> None:
            if x is not None and x.port == 1:
                await resolved.wait()
            await add_remote_candidate(x)

        monkeypatch.setattr(transport, "addRemoteCandidate", resolve)
        adding = asyncio.create_task(pair.answerer.addIceCandidate(candidate(1, new)))
        await asyncio.sleep(0)
        # Whatever comes next in the chain sees it.
        await asyncio.wait_for(pair.answerer.addIceCandidate(candidate(2, new)), 0.1)
        remote = (
            parsed(pair.answerer).pending_remote or parsed(pair.answerer).current_remote
        )
        assert {1, 2} <= set(shown(remote))
        if moment == "pending":
            await asyncio.wait_for(pair.answerer.setLocalDescription(), 5)
        assert not adding.done()
        resolved.set()
        await adding


NAME = "0a1b2c3d-0000-4000-8000-000000000000.local"


@pytest.mark.parametrize("found", [True, False])
async def test_name_in_a_description(
    network: Network, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    """
    A name in a description is resolved beside everything else, and the end of the
    candidates comes behind it.
    """

    class Resolver:
        async def resolve(self, name: str) -> str | None:
            await asyncio.sleep(1)
            return "10.0.1.1" if found else None

    async def create(subscriber: object) -> Resolver:
        return Resolver()

    monkeypatch.setattr("aiortc_restart.ice.connection.resolver", create)
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        history = states(answerer)
        offer = await offered(offerer)
        named = edited(offer, r"(a=candidate[^\n]*)10\.0\.1\.1", rf"\g<1>{NAME}")
        assert named.sdp != offer.sdp
        # So is one which was held for it.
        await answerer.addIceCandidate(
            dataclasses.replace(candidate(1, ufrag_of(offer)), ip=NAME)
        )
        await answerer.setRemoteDescription(named)
        await answerer.setLocalDescription()
        assert network.now == 0
        assert answerer.remoteDescription.sdp.count(".local") >= 1
        assert answerer.remoteDescription.sdp.count("a=end-of-candidates") == 1
        # The peer's checks would tell where it is.
        await asyncio.sleep(2)
        hosts = [x.ip for x in ice_transport(answerer).getRemoteCandidates()]
        assert hosts == ([NAME] * 2 * found)
        if found:
            await offerer.setRemoteDescription(answerer.localDescription)
            await until(lambda: answerer.connectionState == "connected")
        else:
            await until(lambda: answerer.iceConnectionState == "failed")
        assert history.ice[1] == "checking"


@pytest.mark.parametrize("found", [True, False])
async def test_name_again(
    network: Network, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    """
    A name is resolved once, however often its candidate comes, and once more for
    another description if it had no address.
    """
    resolved: list[str] = []

    class Resolver:
        async def resolve(self, name: str) -> str | None:
            resolved.append(name)
            await asyncio.sleep(1)
            return "10.0.9.9" if found else None

    async def create(subscriber: object) -> Resolver:
        return Resolver()

    monkeypatch.setattr("aiortc_restart.ice.connection.resolver", create)
    async with connected_pair(network) as pair:
        for again in (False, True):
            offer = await offered(pair.offerer, iceRestart=not again)
            # As if more were to come.
            named = edited(offer, r"^a=end-of-candidates[^\n]*\n", "")
            named = edited(named, r"(a=candidate[^\n]*)10\.0\.1\.1", rf"\g<1>{NAME}")
            answer = await answered(pair.answerer, named)
            await pair.offerer.setRemoteDescription(answer)
            port = candidates(named)[0].port
            for moment in (0, 0.5, 2):
                await asyncio.sleep(moment)
                await pair.answerer.addIceCandidate(
                    dataclasses.replace(candidate(port, ufrag_of(offer)), ip=NAME)
                )
        assert resolved == ([NAME] if found else [NAME, NAME])


# All together


async def test_trickled_as_json(network: Network) -> None:
    """
    A restart whose candidates and their end travel as JSON, as browsers send them.
    """
    configuration = RTCConfiguration(iceServers=[])
    async with connected_pair(network, configuration=configuration) as pair:
        for offerer, answerer in (
            (pair.offerer, pair.answerer),
            (pair.answerer, pair.offerer),
        ):
            before = credentials(answerer.remoteDescription)
            offer = await offered(offerer, iceRestart=True)
            await answerer.setRemoteDescription(without_candidates(offer))
            for found in candidates(offer):
                fields = {**vars(found), "usernameFragment": ufrag_of(offer)}
                message = RTCIceCandidate(**fields).toJSON()
                await answerer.addIceCandidate(RTCIceCandidate.fromJSON(message))
            await answerer.addIceCandidate(end(ufrag_of(offer)))
            await answerer.addIceCandidate(RTCIceCandidate.fromJSON(None))
            assert answerer.remoteDescription.sdp.count("a=end-of-candidates") == 1
            assert candidates(answerer.remoteDescription) == candidates(offer)
            await answerer.setLocalDescription()
            await offerer.setRemoteDescription(answerer.localDescription)
            await switched(offerer, answerer)
            assert credentials(answerer.remoteDescription) != before
            await pair.exchange()
        await restart(pair.offerer, pair.answerer)
