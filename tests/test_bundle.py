"""
The transport of bundled sections is described by the BUNDLE-tag section (RFC 9429
section 3.5.1, RFC 9143 section 7).
"""

import asyncio
import dataclasses
import re

import pytest
from aiortc import RTCBundlePolicy, RTCSessionDescription
from aiortc.sdp import GroupDescription, SessionDescription

from aiortc_restart import AudioStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc_restart.negotiation.sections import bundled_mids, set_bundled_mids

from .calls import (
    ROLLBACK,
    SETTLING,
    Unbundled,
    answered,
    edited,
    ice_transport,
    ice_transports,
    offered,
    paths,
    peers,
    restart,
    sections,
    switched,
    ufrag_of,
)
from .media import Pictures, flowing
from .network import Network
from .utils import candidates, connected_pair, credentials, negotiate, sdp_edit, until

BOGUS = "a=candidate:9 1 udp 2130706431 10.0.9.9 9999 typ host\r\n"


def add_media(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTransceiver("audio")
    offerer.addTransceiver("video")


def rewritten(
    description: RTCSessionDescription, pattern: str, replacement: str, *mids: str
) -> RTCSessionDescription:
    """
    Return a copy of a description in which some sections have been edited.
    """
    parts = re.split(r"^(?=m=)", description.sdp, flags=re.MULTILINE)
    for i, part in enumerate(parts):
        mid = re.search(r"^a=mid:(\S+)", part, re.MULTILINE)
        if mid and mid[1] in mids:
            parts[i], count = re.subn(pattern, replacement, part, flags=re.MULTILINE)
            assert count
    return RTCSessionDescription(sdp="".join(parts), type=description.type)


def as_firefox(description: RTCSessionDescription) -> RTCSessionDescription:
    """
    List candidates in each section, of which those outside the tag lead nowhere.
    """
    return rewritten(description, r"^a=candidate:.*\r\n", BOGUS, "1", "2")


def as_libwebrtc(description: RTCSessionDescription) -> RTCSessionDescription:
    """
    List candidates in the tag section only.
    """
    pattern = r"^a=(candidate:.*|end-of-candidates)\r\n"
    return rewritten(description, pattern, "", "1", "2")


def as_specified(description: RTCSessionDescription) -> RTCSessionDescription:
    """
    Leave out of the sections outside the tag all that describes a transport's ICE.
    """
    pattern = r"^a=(candidate:.*|end-of-candidates|ice-ufrag:.*|ice-pwd:.*)\r\n"
    return rewritten(description, pattern, "", "1", "2")


def as_stranger(description: RTCSessionDescription) -> RTCSessionDescription:
    """
    Give the sections outside the tag credentials of their own.
    """
    other = {"ufrag": "stranger", "pwd": "strangerstrangerstranger"}
    return sdp_edit(description, **other, mids=["1", "2"])


def as_tag_last(description: RTCSessionDescription) -> RTCSessionDescription:
    """
    Name the last section first, and spoil the others.
    """
    sdp = re.sub(
        r"^a=group:BUNDLE 0 1 2", "a=group:BUNDLE 2 1 0", description.sdp, flags=re.M
    )
    moved = RTCSessionDescription(sdp=sdp, type=description.type)
    return rewritten(moved, r"^a=candidate:.*\r\n", BOGUS, "0", "1")


EDITS = [as_firefox, as_libwebrtc, as_specified, as_stranger, as_tag_last]


def said_by(name: str, description: RTCSessionDescription) -> RTCSessionDescription:
    return next(x for x in EDITS if x.__name__ == name)(description)


NAMES = [x.__name__ for x in EDITS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_offer(network: Network, name: str, restarts: bool) -> None:
    """
    Only the tag section of an offer describes the transport, at first and in a restart.
    """
    async with peers(network) as (offerer, answerer):
        add_media(offerer, answerer)
        offerer.createDataChannel("test")
        if restarts:
            await negotiate(offerer, answerer)
            await switched(offerer, answerer)
        offer = await offered(offerer, iceRestart=restarts)
        said = said_by(name, offer)
        await answerer.setRemoteDescription(said)
        transport = ice_transport(answerer)
        assert ice_transports(answerer) == [transport]
        *_, generation = transport.generations
        # At first each section has a transport; once bundled, all have the same.
        tag = 2 if name == "as_tag_last" else 0
        expected = candidates(offer)[tag]
        found = [(x.host, x.port) for x in generation.connection.remote_candidates]
        assert found == [(expected.ip, expected.port)]

        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await switched(offerer, answerer)
        assert paths(offerer)[0][0] == ufrag_of(offer)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_answer(network: Network, name: str, restarts: bool) -> None:
    """
    Only the tag section of an answer describes the transport.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        offer = await offered(pair.offerer, iceRestart=restarts)
        answer = await answered(pair.answerer, offer)
        await pair.offerer.setRemoteDescription(said_by(name, answer))
        transport = ice_transport(pair.offerer)
        found = [(x.ip, x.port) for x in transport.getRemoteCandidates()]
        assert found == [(x.ip, x.port) for x in candidates(answer)[:1]]
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer) == [(ufrag_of(offer), ufrag_of(answer))]
        await pair.exchange()


@pytest.mark.parametrize("name", NAMES)
async def test_remote_description(network: Network, name: str) -> None:
    """
    `remoteDescription` shows what each section has said, not what was made of it.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        for said in (
            said_by(name, await offered(pair.offerer)),
            said_by(name, await offered(pair.offerer, iceRestart=True)),
        ):
            await pair.answerer.setRemoteDescription(said)
            shown = pair.answerer.remoteDescription
            assert shown.sdp.split("m=")[0] == said.sdp.split("m=")[0]
            for a, b in zip(sections(said), sections(shown), strict=True):
                assert a.ice == b.ice
                assert a.ice_candidates == b.ice_candidates
                assert a.ice_candidates_complete == b.ice_candidates_complete
                assert str(a) == str(b)


async def test_remote_description_refused(network: Network) -> None:
    """
    What was said is shown also after a description which was refused.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        offer = as_firefox(await offered(pair.offerer, iceRestart=True))
        await pair.answerer.setRemoteDescription(offer)
        shown = pair.answerer.remoteDescription
        with pytest.raises(ValueError, match="must be 4 to 256"):
            await pair.answerer.setRemoteDescription(sdp_edit(offer, ufrag="a"))
        assert pair.answerer.remoteDescription == shown


async def test_trickled_candidate(network: Network) -> None:
    """
    A candidate which is trickled is shown in the section that it names.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(as_libwebrtc(offer))
        (candidate, *_) = candidates(offer)
        candidate = dataclasses.replace(candidate, port=4444)
        await pair.answerer.addIceCandidate(candidate)
        shown = candidates(pair.answerer.remoteDescription)
        assert [x.sdpMid for x in shown] == ["0", "0"]


@pytest.mark.parametrize("mids", [["0"], ["1", "2"]], ids=["tag", "others"])
async def test_local_offer(network: Network, mids: list[str]) -> None:
    """
    In our own offers, too, the tag section decides whether there is a restart.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        other = {"ufrag": "fresh", "pwd": "freshfreshfreshfreshfresh"}
        offer = sdp_edit(await pair.offerer.createOffer(), **other, mids=mids)
        await pair.offerer.setLocalDescription(offer)
        shown = {x for x, _ in credentials(pair.offerer.localDescription)}
        assert shown == {ufrag_of(offer)}
        assert ice_transport(pair.offerer).restarting == (mids == ["0"])
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer)[0][0] == ufrag_of(offer)


@pytest.mark.parametrize("when", ["first", "later"])
async def test_two_of_a_kind(network: Network, when: str) -> None:
    """
    Two sections of a kind, new at the same time, both get the transport of the bundle.
    """
    async with peers(network) as both:
        both[0].addTrack(AudioStreamTrack())
        if when == "later":
            await negotiate(*both)
            await switched(*both)
        both[0].addTrack(Pictures())
        both[0].addTrack(Pictures())
        await negotiate(*both)
        await switched(*both)
        await flowing(both[1])
        await restart(*both)
        await restart(*reversed(both))
        await flowing(both[1])
        assert [len(ice_transports(x)) for x in both] == [1, 1]


BUNDLED = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a b 7\r\n"
for name in "abc":
    BUNDLED += (
        f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:{name}\r\n"
        f"a=candidate:{name} 1 udp 1 10.0.1.1 {ord(name)} typ host\r\n"
        f"a=ice-ufrag:{4 * name}\r\na=ice-pwd:{24 * name}\r\na=sctp-port:5000\r\n"
    )


def description(*groups: tuple[str, list[int | str]]) -> SessionDescription:
    result = SessionDescription()
    result.group = [GroupDescription(semantic=x, items=y) for x, y in groups]
    return result


def test_bundled_mids() -> None:
    """
    The BUNDLE group is one of several, or none.
    """
    assert bundled_mids(None) == []
    assert bundled_mids(description()) == []
    assert bundled_mids(description(("LS", ["a", "b"]))) == []
    both = description(("LS", ["a", "b"]), ("BUNDLE", ["b", 0]))
    assert bundled_mids(both) == ["b", "0"]


def test_set_bundled_mids() -> None:
    """
    The BUNDLE group is replaced, or removed, and the other groups stay.
    """
    both = description(("LS", ["a", "b"]), ("BUNDLE", ["b", 0]))
    set_bundled_mids(both, ["0", "b"])
    assert both.group == description(("LS", ["a", "b"]), ("BUNDLE", ["0", "b"])).group
    set_bundled_mids(both, [])
    assert both.group == description(("LS", ["a", "b"])).group


async def test_max_bundle_owner(network: Network) -> None:
    """
    With `max-bundle` the BUNDLE-tag need not be that which made the transport.
    """
    configuration = RTCConfiguration(
        iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
    )
    async with connected_pair(
        network,
        configuration=configuration,
        prepare=lambda offerer, answerer: (
            offerer.addTrack(AudioStreamTrack()),
            offerer.addTrack(Pictures()),
            # Its section is the second one of the offer.
            answerer.addTrack(Pictures()),
        ),
    ) as pair:
        both = (pair.offerer, pair.answerer)
        for _ in range(2):
            await flowing(*both)
            await restart(*both)
            await negotiate(*reversed(both))
            await pair.exchange()
        for pc in both:
            assert len(pc._transports.made) == len(pc._slots.dtls_transports) == 1


async def test_bundled_later(network: Network) -> None:
    """
    What an offer bundles away goes on as it was if that is rolled back.
    """
    async with peers(network, offerer=Unbundled) as (offerer, answerer):
        offerer.addTransceiver("audio")
        channel = offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open")
        offer = await offerer.createOffer()
        assert "BUNDLE" not in offer.sdp
        group = r"a=group:BUNDLE 0 1\r\n\g<0>"
        await answerer.setRemoteDescription(edited(offer, "^a=msid-semantic", group))
        await answerer.setRemoteDescription(ROLLBACK)
        await asyncio.sleep(SETTLING)
        for pc in (offerer, answerer):
            assert [x.state for x in pc._slots.dtls_transports] == 2 * ["connected"]


async def test_owner_stopped_before_it_was_offered(network: Network) -> None:
    """
    A transport goes on with those that share it when its owner will have no m-section.
    """
    async with peers(network) as (offerer, answerer):
        owner, _ = (offerer.addTransceiver("audio") for _ in range(2))
        offerer.createDataChannel("test")
        await owner.stop()
        transport = ice_transports(offerer)[0]
        await negotiate(offerer, answerer)
        assert ice_transports(offerer) == [transport]
        await switched(offerer, answerer)


async def test_nothing_to_bundle_yet(network: Network) -> None:
    """
    Sections that come after a negotiation of none are bundled.
    """
    async with peers(network) as (offerer, answerer):
        await negotiate(offerer, answerer)
        offerer.addTransceiver("audio")
        offerer.createDataChannel("test")
        offer, answer = await negotiate(offerer, answerer)
        assert "a=group:BUNDLE 0 1\r\n" in offer.sdp
        assert "a=group:BUNDLE 0 1\r\n" in answer.sdp
        await switched(offerer, answerer)
