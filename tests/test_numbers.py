"""
Payload types, header-extension ids and codecs' order: what has been negotiated stays,
whoever offered first (RFC 9429 section 5.2.2).
"""

import copy

import pytest
from aiortc import RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from aiortc_restart import RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver

from .browser import LEVEL, MID, SEND_TIME, Browser, Session
from .calls import peers, restart, sections, switched
from .media import add_media, flowing
from .network import Network
from .utils import negotiate

OPUS = (111, "opus")
G722 = (9, "G722")
PCMU = (0, "PCMU")
PCMA = (8, "PCMA")
H264 = (103, "H264")
H264_RTX = (104, "rtx")
VP8 = (96, "VP8")
VP8_RTX = (97, "rtx")


def add_transceivers(pc: RTCPeerConnection, *kinds: str) -> None:
    for kind in kinds:
        pc.addTransceiver(kind)


def codecs(description: RTCSessionDescription, index: int) -> list[tuple[int, str]]:
    """
    Return the payload types and names of a section's codecs.
    """
    return [number_and_name(x) for x in sections(description)[index].rtp.codecs]


def number_and_name(codec: RTCRtpCodecParameters) -> tuple[int, str]:
    assert codec.payloadType is not None
    return codec.payloadType, codec.name


def extensions(description: RTCSessionDescription, index: int) -> dict[int, str]:
    """
    Return the meanings of a section's header-extension ids.
    """
    found = sections(description)[index].rtp.headerExtensions
    return {x.id: x.uri for x in found}


async def test_callee_offers(network: Network) -> None:
    """
    The offer of a callee has the caller's numbers, in the order of its own answer.
    """
    async with peers(network, offerer=Browser) as (browser, pc):
        add_transceivers(browser, "audio", "video")
        _, answer = await negotiate(browser, pc)
        assert codecs(answer, 0) == [PCMU, OPUS, PCMA]
        assert codecs(answer, 1) == [H264, H264_RTX, VP8, VP8_RTX]

        offer = await pc.createOffer()
        # What comes after is new, under numbers which nobody has used.
        assert codecs(offer, 0) == [PCMU, OPUS, PCMA, G722]
        assert codecs(offer, 1)[:4] == [H264, H264_RTX, VP8, VP8_RTX]
        (number, name), (retransmission, rtx) = codecs(offer, 1)[4:]
        assert (name, rtx) == ("H264", "rtx")
        used = {96, 97, 98, 99, 100, 103, 104, 110, 111, 45, 46}
        assert used.isdisjoint({number, retransmission})
        assert sections(offer)[1].rtp.codecs[5].parameters == {"apt": number}
        assert extensions(offer, 0) == {1: LEVEL, 4: MID}
        assert extensions(offer, 1) == {5: SEND_TIME, 4: MID}
        # The numbers of the m-line are those of the attributes.
        for media in sections(offer):
            assert media.fmt == [x.payloadType for x in media.rtp.codecs]


async def test_callee_offers_what_it_answered(network: Network) -> None:
    """
    A codec is offered as we answered it, down to the order of its feedback messages.
    """
    # libwebrtc makes a stream anew, and says BYE, if anything in it has changed.
    async with peers(network, offerer=Browser) as (browser, pc):
        add_transceivers(browser, "audio", "video")
        _, answer = await negotiate(browser, pc)
        for offer in (await pc.createOffer(), await pc.createOffer(iceRestart=True)):
            for old, new in zip(sections(answer), sections(offer), strict=True):
                assert new.rtp.codecs[: len(old.rtp.codecs)] == old.rtp.codecs
                assert new.rtp.headerExtensions == old.rtp.headerExtensions
                assert new.rtp.muxId == old.rtp.muxId
                assert new.msid == old.msid


async def test_create_offer_keeps_codecs(network: Network) -> None:
    """
    Creating an offer leaves what is being sent and received as it is.
    """
    async with peers(network, offerer=Browser) as (browser, pc):
        add_transceivers(browser, "audio", "video")
        await negotiate(browser, pc)
        before = [(x._codecs, x._headerExtensions) for x in pc.getTransceivers()]
        numbers = copy.deepcopy(vars(pc._session.agreement.numbers))
        first = await pc.createOffer()
        assert [(x._codecs, x._headerExtensions) for x in pc.getTransceivers()] == (
            before
        )
        # Neither are numbers used up.
        assert vars(pc._session.agreement.numbers) == numbers
        assert codecs(await pc.createOffer(), 1) == codecs(first, 1)


def prefer(transceiver: RTCRtpTransceiver, *names: str) -> None:
    capabilities = RTCRtpReceiver.getCapabilities(transceiver.kind)
    assert capabilities is not None
    known = {x.name: x for x in capabilities.codecs}
    transceiver.setCodecPreferences([known[x] for x in names])


@pytest.mark.parametrize("first", ["browser", "ours"])
@pytest.mark.parametrize("again", ["browser", "ours", "alternating"])
async def test_session(network: Network, first: str, again: str) -> None:
    """
    Through offers and restarts by either side no number changes its meaning, and media
    flow.
    """
    async with peers(network, offerer=Browser) as (browser, pc):
        both = [browser, pc]
        add_media(browser, pc)
        if first == "ours":
            both.reverse()
        session = Session()
        session.add(*await negotiate(*both))
        await flowing(*both)
        if (first == "ours") != (again == "ours"):
            both.reverse()
        for restarts in (False, True, False):
            session.add(*await negotiate(*both, iceRestart=restarts))
            await flowing(*both)
            if again == "alternating":
                both.reverse()


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_new_section(network: Network, kind: str) -> None:
    """
    A new section uses the session's numbers for what it knows, and unused ones for the
    rest.
    """
    # RFC 9143 section 9
    async with peers(network, offerer=Browser) as (browser, pc):
        session = Session()
        add_transceivers(browser, "video" if kind == "audio" else "audio")
        session.add(*await negotiate(browser, pc))
        pc.addTransceiver(kind)
        offer, answer = await negotiate(pc, browser)
        session.add(offer, answer)
        assert extensions(offer, 1)[4] == MID
        assert len(extensions(offer, 1)) == 2
        if kind == "audio":
            # aiortc's number for opus is the browser's for VP8.
            assert (96, "opus") not in codecs(offer, 1)
        else:
            # aiortc's id for the send time is none that the audio has used.
            assert (98, "rtx") not in codecs(offer, 1)
        session.add(*await negotiate(browser, pc))
        session.add(*await negotiate(pc, browser, iceRestart=True))


async def test_second_section(network: Network) -> None:
    """
    A second section of a kind has the numbers of the first.
    """
    async with peers(network, offerer=Browser) as (browser, pc):
        session = Session()
        add_transceivers(browser, "video")
        session.add(*await negotiate(browser, pc))
        add_transceivers(pc, "video")
        offer = await pc.createOffer()
        session.add(offer)
        assert set(codecs(offer, 0)) == set(codecs(offer, 1))
        assert extensions(offer, 0) == extensions(offer, 1)


async def test_preferences(network: Network) -> None:
    """
    `setCodecPreferences()` decides about the order, and what is left out, and keeps the
    numbers.
    """
    # RFC 9429 section 5.2.2
    async with peers(network, offerer=Browser) as (browser, pc):
        session = Session()
        add_transceivers(browser, "audio", "video")
        session.add(*await negotiate(browser, pc))
        audio, video = pc.getTransceivers()
        prefer(audio, "PCMA", "opus")
        prefer(video, "VP8", "rtx")
        offer, answer = await negotiate(pc, browser)
        session.add(offer, answer)
        for description in (offer, answer):
            assert codecs(description, 0) == [PCMA, OPUS]
            assert codecs(description, 1) == [VP8, VP8_RTX]

        # Without preferences again, what was left out comes back under its number.
        audio.setCodecPreferences([])
        video.setCodecPreferences([])
        offer = await pc.createOffer()
        session.add(offer)
        assert codecs(offer, 0) == [PCMA, OPUS, G722, PCMU]
        assert codecs(offer, 1)[:2] == [VP8, VP8_RTX]
        assert {H264, H264_RTX} < set(codecs(offer, 1)[2:])


async def test_reduced(network: Network) -> None:
    """
    What an answer has left out may be offered again, under the number that it had.
    """
    async with peers(network, answerer=Browser) as (pc, browser):
        session = Session()
        add_transceivers(pc, "audio")
        first = await pc.createOffer()
        add_transceivers(browser, "audio")
        (transceiver,) = browser.getTransceivers()
        prefer(transceiver, "PCMA", "opus")
        offer, answer = await negotiate(pc, browser)
        session.add(offer, answer)
        assert codecs(answer, 0) == [(8, "PCMA"), (96, "opus")]
        again = await pc.createOffer()
        session.add(again)
        assert codecs(again, 0)[:2] == codecs(answer, 0)
        assert set(codecs(again, 0)) == set(codecs(first, 0))


async def test_restart_keeps_numbers(network: Network) -> None:
    """
    A restart by the callee changes credentials and nothing else of the media.
    """
    async with peers(network, offerer=Browser) as (browser, pc):
        session = Session()
        browser.createDataChannel("test")
        add_transceivers(browser, "audio", "video")
        session.add(*await negotiate(browser, pc))
        await switched(browser, pc)
        for both in ((pc, browser), (browser, pc), (pc, browser)):
            await restart(*both)
            for x in both:
                session.add(x.localDescription)
