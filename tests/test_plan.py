"""
Plans: an agreement and a description in, an agreement or an error out. No event loop
runs, and nobody is at the other end.
"""

import asyncio
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import aiortc
import pytest
from aiortc import RTCSessionDescription
from aiortc.codecs import CODECS
from aiortc.exceptions import OperationError
from aiortc.sdp import SessionDescription

from aiortc_restart import _aiortc
from aiortc_restart._aiortc import Endpoint
from aiortc_restart.negotiation import describe, plan, text
from aiortc_restart.negotiation.agreement import Agreement
from aiortc_restart.negotiation.present import Present

SESSION = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"

FINGERPRINT = ":".join(["AB"] * 32)

OTHER_FINGERPRINT = ":".join(["CD"] * 32)

OPUS = "96 opus/48000/2"

VP8 = "97 VP8/90000"


@pytest.fixture(autouse=True)
def idle_loop() -> Iterator[None]:
    """
    A loop which does not run: aiortc asks for one when it makes a sender.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


class Transport:
    """
    What a plan gives to sections: it is told from others, and nothing else.
    """

    state = "new"

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class World:
    """
    What a description meets: what there is, and what would be made.
    """

    def __init__(self) -> None:
        self.agreement = Agreement()
        self.associated: set[Any] = set()
        self.made: list[Endpoint] = []
        self.tag: str | None = None
        self.tag_addresses: set[tuple[str, int]] = set()
        self.transceivers: list[aiortc.RTCRtpTransceiver] = []
        self.transports: list[Transport] = []

    def present(self, **changes: Any) -> Present:
        present = Present(
            now=self.agreement,
            stable=self.agreement,
            provisional=None,
            transceivers=self.transceivers,
            data=None,
            own=set(),
            kept=set(),
            associates_all=True,
            associated=self.associated,
            offered={},
            shares_by_kind=True,
            make_data=self.make_data,
            make_transceiver=self.make_transceiver,
            make_transport=self.make_transport,
            transport_for=lambda kind: self.make_transport(),
            transport_of=_aiortc.dtls_of,
            tag=self.tag,
            tag_addresses=self.tag_addresses,
        )
        return dataclasses.replace(present, **changes)

    def make_data(self, dtls: aiortc.RTCDtlsTransport) -> aiortc.RTCSctpTransport:
        self.made.append(_aiortc.RTCSctpTransport(dtls))
        return cast(aiortc.RTCSctpTransport, self.made[-1])

    def make_transceiver(
        self, kind: str, dtls: aiortc.RTCDtlsTransport
    ) -> aiortc.RTCRtpTransceiver:
        transceiver = _aiortc.RTCRtpTransceiver(
            direction="recvonly",
            kind=kind,
            sender=_aiortc.RTCRtpSender(kind, dtls),
            receiver=_aiortc.RTCRtpReceiver(kind, dtls),
        )
        self.made.append(transceiver)
        return transceiver

    def make_transport(self) -> aiortc.RTCDtlsTransport:
        self.transports.append(Transport(f"transport {len(self.transports)}"))
        return cast(aiortc.RTCDtlsTransport, self.transports[-1])

    def agree(self, *sections: str, **options: Any) -> Agreement:
        """
        Have an offer of the peer's and our answer to it.
        """
        offered = plan.remote(offer(*sections, **options), self.present())
        self.agreement = offered
        answered = plan.local_answer(
            answer(*sections, setup="active", **options), self.present()
        )
        self.agreement = answered.settled()
        self.transceivers = [
            x.endpoint
            for x in self.agreement
            if isinstance(x.endpoint, aiortc.RTCRtpTransceiver)
        ]
        self.associated = {*self.agreement.transports}
        return self.agreement


def section(
    kind: str,
    mid: int,
    *,
    port: int = 9,
    formats: Iterable[str] | None = None,
    ufrag: str = "abcd",
    fingerprint: str = FINGERPRINT,
    candidates: Iterable[str] = (),
    direction: str = "sendrecv",
    setup: str = "actpass",
) -> str:
    """
    Return an m-section.
    """
    if formats is None:
        formats = {"audio": [OPUS], "video": [VP8]}.get(kind, [])
    numbers = " ".join(x.split()[0] for x in formats)
    lines = [f"m={kind} {port} UDP/TLS/RTP/SAVPF {numbers}", "a=rtcp-mux"]
    if kind == "application":
        lines = [f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel"]
        lines.append("a=sctp-port:5000")
    lines += [
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a=ice-ufrag:{ufrag}",
        "a=ice-pwd:abcdefghabcdefghabcdefgh",
        f"a=fingerprint:sha-256 {fingerprint}",
        f"a=setup:{setup}",
        f"a={direction}",
        *(f"a=rtpmap:{x}" for x in formats),
        *(f"a=candidate:1 1 udp 1 {x} typ host" for x in candidates),
    ]
    return "\r\n".join(lines) + "\r\n"


AUDIO, VIDEO = section("audio", 0), section("video", 1)

DATA = section("application", 2)


def described(
    type: str, *sections: str, bundled: bool = True, setup: str | None = None
) -> SessionDescription:
    """
    Return a description, parsed.
    """
    head = SESSION
    live = [x for x in sections if not x.split()[1] == "0"]
    mids = [str(re.search("a=mid:(.*)\r", x)[1]) for x in live]  # type: ignore[index]
    if bundled and mids:
        head += f"a=group:BUNDLE {' '.join(mids)}\r\n"
    sdp = head + "".join(sections)
    if setup is not None:
        sdp = re.sub("a=setup:.*?\r", f"a=setup:{setup}\r", sdp)
    return text.parse(RTCSessionDescription(sdp=sdp, type=type))


def offer(*sections: str, **options: Any) -> SessionDescription:
    return described("offer", *sections, **options)


def answer(*sections: str, **options: Any) -> SessionDescription:
    return described("answer", *sections, **{"setup": "active", **options})


def test_first_offer() -> None:
    """
    What the peer offers first is made, on one transport if it is bundled, and else on
    one for each kind of media.
    """
    for bundled, number in ((True, 1), (False, 3)):
        world = World()
        present = world.present()
        planned = plan.remote(offer(AUDIO, VIDEO, DATA, bundled=bundled), present)
        assert [x.kind for x in planned] == ["audio", "video", "application"]
        assert [x.endpoint for x in planned] == world.made
        assert planned.made == {*world.made}
        assert len(planned.negotiated) == number
        assert [x.receiving for x in planned] == [True, True, False]
        assert [x.offered_direction for x in planned] == ["sendrecv", "sendrecv", None]
        # It was planned, and nothing has changed.
        assert present.now is present.stable is world.agreement
        assert (world.agreement.sections, world.agreement.mids) == ((), frozenset())
        assert world.transceivers == []


def test_codecs_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Codecs stay what they are as long as what they follow from does: what the peer says,
    what the application prefers, and what there is.
    """
    both = section("audio", 0, formats=[OPUS, "0 PCMU/8000"])
    world = World()
    (before,) = world.agree(both)
    (same,) = plan.remote(offer(both), world.present())
    assert same.codecs is before.codecs
    assert [x.name for x in same.codecs] == ["opus", "PCMU"]

    (fewer,) = plan.remote(offer(AUDIO), world.present())
    assert [x.name for x in fewer.codecs] == ["opus"]
    other = plan.remote(offer(both.replace("UDP/TLS/RTP/SAVPF", "X")), world.present())
    assert other.sections[0].refused
    with monkeypatch.context() as patch:
        patch.setitem(CODECS, "audio", [x for x in CODECS["audio"] if x.name != "opus"])
        (less,) = plan.remote(offer(both), world.present())
    assert [x.name for x in less.codecs] == ["PCMU"]
    (transceiver,) = world.transceivers
    capabilities = aiortc.RTCRtpSender.getCapabilities("audio")
    assert capabilities is not None
    transceiver.setCodecPreferences(
        [x for x in capabilities.codecs if x.name == "PCMU"]
    )
    (preferred,) = plan.remote(offer(both), world.present())
    assert [x.name for x in preferred.codecs] == ["PCMU"]


def test_transceivers_of_before() -> None:
    """
    A transceiver without a section gets that of its kind, and one that is kept, is
    stopped or has a section does not.
    """
    world = World()
    first, second = (
        world.make_transceiver("audio", world.make_transport()) for _ in range(2)
    )
    world.transceivers = [first, second]
    for changes, expected in (({}, first), ({"kept": {first}}, second)):
        planned = plan.remote(offer(AUDIO), world.present(**changes))
        assert planned.sections[0].endpoint is expected
        assert planned.made == frozenset()
    cast(_aiortc.RTCRtpTransceiver, first).stop_unstarted()
    cast(_aiortc.RTCRtpTransceiver, second).stop_unstarted()
    planned = plan.remote(offer(AUDIO), world.present())
    assert planned.sections[0].endpoint not in (first, second)
    sendonly = section("audio", 0, direction="sendonly")
    world.transceivers = [world.make_transceiver("audio", world.make_transport())]
    for associates in (True, False):
        present = world.present(associates_all=associates)
        planned = plan.remote(offer(sendonly), present)
        found = planned.sections[0].endpoint is world.transceivers[0]
        assert found == associates


REFUSED = {
    "kind": section("text", 2, formats=["98 t140/1000"]),
    "protocol": VIDEO.replace("UDP/TLS/RTP/SAVPF", "UDP/X").replace("mid:1", "mid:2"),
    "codec": section("video", 2, formats=["98 unknown/90000"]),
    "data": DATA.replace("mid:2", "mid:3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """
    What cannot be done is refused by itself, and the rest is agreed.
    """
    # RFC 9429 section 5.3.1
    world = World()
    before = [AUDIO, DATA] if name == "data" else [AUDIO]
    planned = plan.remote(offer(*before, REFUSED[name]), world.present())
    assert [x.refused for x in planned] == [*(False for _ in before), True]
    last = planned.sections[-1]
    assert not last.described
    assert last.endpoint is None
    assert len(world.made) == len(before)


def test_all_refused() -> None:
    """
    A first offer of which nothing can be done is an error, as in aiortc, but one in a
    call is not.
    """
    world = World()
    bad = section("audio", 0, formats=["98 unknown/48000"])
    with pytest.raises(OperationError, match="audio description send parameters"):
        plan.remote(offer(bad), world.present())
    world.agree(AUDIO)
    planned = plan.remote(offer(bad), world.present())
    assert planned.sections[0].refused


def test_rejected() -> None:
    """
    Of a section with port 0 nothing is looked at, and its endpoint stays with it until
    the end of the negotiation.
    """
    world = World()
    agreed = world.agree(AUDIO, VIDEO, DATA)
    gone = "m=video 0 X y\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n"
    planned = plan.remote(offer(AUDIO, gone, DATA), world.present())
    assert [x.rejected for x in planned] == [False, True, False]
    assert planned.sections[1].endpoint is agreed.sections[1].endpoint
    assert planned.sections[1].offered_direction == "inactive"
    assert planned.negotiated == agreed.negotiated
    gone = DATA.replace("m=application 9", "m=application 0")
    planned = plan.remote(offer(AUDIO, VIDEO, gone), world.present()).settled()
    assert planned.sections[2].endpoint is None
    assert planned.sections[2].transport is None


def test_used_again() -> None:
    """
    The place of a section that has been rejected is used for something else, and for
    another transceiver if it is of the same kind.
    """
    world = World()
    agreed = world.agree(AUDIO, VIDEO)
    gone = VIDEO.replace("m=video 9", "m=video 0")
    world.agreement = plan.remote(offer(AUDIO, gone), world.present()).settled()
    for again in (DATA, section("video", 3)):
        planned = plan.remote(offer(AUDIO, again), world.present())
        assert planned.sections[1].endpoint not in (None, agreed.sections[1].endpoint)
        assert planned.sections[1].endpoint in planned.made


def test_answer_without_codec() -> None:
    """
    An answer without a codec of the offer is an error.
    """
    world = World()
    transceiver = world.make_transceiver("audio", world.make_transport())
    world.transceivers = [transceiver]
    world.agreement = plan.local_offer(offer(AUDIO), world.present())
    bad = section("audio", 0, formats=["98 unknown/48000"])
    with pytest.raises(OperationError, match="audio description send parameters"):
        plan.remote(answer(bad), world.present(stable=Agreement()))
    planned = plan.remote(answer(AUDIO), world.present(stable=Agreement()))
    (found,) = planned
    assert found.endpoint is transceiver
    assert found.current_direction == "sendrecv"
    (terms,) = planned.terms.values()
    assert (terms.controlling, terms.role) == (True, "server")


def test_offer_of_nobody() -> None:
    """
    An offer of ours has to be somebody's, but for data channels, which are made.
    """
    world = World()
    with pytest.raises(ValueError, match='No transceiver for media section "0"'):
        plan.local_offer(offer(AUDIO), world.present())
    planned = plan.local_offer(offer(DATA), world.present())
    assert planned.made == {*world.made}


@pytest.mark.parametrize("is_offer", [True, False], ids=["offer", "answer"])
def test_another_peer(is_offer: bool) -> None:
    """
    Another fingerprint with other credentials begins with another transport in the
    place of the one there is; without them it is an error.
    """
    world = World()
    agreed = world.agree(AUDIO, DATA)
    (before,) = agreed.negotiated
    make: Callable[..., SessionDescription] = offer if is_offer else answer
    sections = [
        section("audio", 0, fingerprint=OTHER_FINGERPRINT),
        section("application", 2, fingerprint=OTHER_FINGERPRINT),
    ]
    with pytest.raises(ValueError, match="no new ICE credentials"):
        plan.remote(make(*sections), world.present())
    sections = [
        section("audio", 0, fingerprint=OTHER_FINGERPRINT, ufrag="efgh"),
        section("application", 2, fingerprint=OTHER_FINGERPRINT, ufrag="efgh"),
    ]
    planned = plan.remote(make(*sections), world.present())
    (after,) = planned.negotiated
    assert after is not before
    assert planned.replaced == {after: before}
    assert [x.endpoint for x in planned] == [x.endpoint for x in agreed]
    assert planned.terms[after].controlling == (not is_offer)
    # Data channels are numbered by the role, which is kept if we may choose it.
    assert planned.terms[after].role == ("client" if is_offer else "server")
    assert planned.settled().replaced == {}
    # Before there is an association, there is nothing to begin anew.
    planned = plan.remote(make(*sections), world.present(associated=set()))
    assert planned.negotiated == [before]


@pytest.mark.parametrize(
    ("address", "ufrag", "anew"),
    [
        ("10.0.0.2 2000", "abcd", True),
        ("10.0.0.1 1000", "abcd", False),
        (None, "abcd", True),
        ("10.0.0.2 2000", "efgh", True),
    ],
    ids=["moved", "stays", "trickles", "restarts"],
)
def test_tag_rejected(address: str | None, ufrag: str, anew: bool) -> None:
    """
    Where the BUNDLE-tag is rejected in an offer, a peer with other candidates has begun
    with another transport for the rest; one with the same candidates has not.
    """
    world = World()
    agreed = world.agree(AUDIO, VIDEO, DATA)
    world.tag, world.tag_addresses = "0", {("10.0.0.1", 1000)}
    (before,) = agreed.negotiated
    found = [address] if address is not None else []
    gone = AUDIO.replace("m=audio 9", "m=audio 0")
    sections = [
        gone,
        section("video", 1, candidates=found, ufrag=ufrag),
        section("application", 2, candidates=found, ufrag=ufrag),
    ]
    (after,) = plan.remote(offer(*sections), world.present()).negotiated
    assert (after is not before) == anew
    # As long as the tag is there, they are candidates like any others.
    sections[0] = AUDIO
    (after,) = plan.remote(offer(*sections), world.present()).negotiated
    assert after is before


def test_described() -> None:
    """
    An offer describes what is agreed, then what waits for a section, in the places that
    are free first, and changes nothing.
    """
    world = World()
    world.agree(AUDIO, VIDEO)
    gone = VIDEO.replace("m=video 9", "m=video 0")
    agreed = plan.remote(offer(AUDIO, gone), world.present()).settled()
    waiting = [world.make_transceiver("audio", world.make_transport())]
    describer = describe.Describer(
        "cname",
        lambda dtls: describe.Local(
            ice=aiortc.RTCIceParameters("abcd", "abcdefghabcdefghabcdefgh"),
            fingerprints=[],
            candidates=[],
            complete=False,
            trickles=False,
        ),
    )
    for new in (waiting, []):
        created = describe.offer(describer, agreed, agreed, new, None)
        kinds = [(x.kind, bool(x.port)) for x in created.description.media]
        assert kinds == [("audio", True), ("audio" if new else "video", bool(new))]
        if new:
            mid = created.description.media[1].rtp.muxId
            assert mid not in agreed.mids
            assert created.endpoints[mid] is new[0]
        assert new == waiting or not new
    assert waiting[0].mid is None
