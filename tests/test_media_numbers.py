import copy
from collections.abc import Iterable

from aiortc.codecs import CODECS
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
)
from aiortc.sdp import MediaDescription, SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from aiortc_restart.negotiation.agreement import (
    FREE_EXTENSION_IDS,
    FREE_PAYLOAD_TYPES,
    MediaNumbers,
)

from .browser import meaning


def codec(number: int, name: str = "opus") -> RTCRtpCodecParameters:
    return RTCRtpCodecParameters(
        mimeType=f"audio/{name}", clockRate=48000, channels=2, payloadType=number
    )


def extension(number: int, uri: str) -> RTCRtpHeaderExtensionParameters:
    return RTCRtpHeaderExtensionParameters(id=number, uri=uri)


def described(
    codecs: list[RTCRtpCodecParameters] | None = None,
    extensions: list[RTCRtpHeaderExtensionParameters] | None = None,
) -> SessionDescription:
    media = MediaDescription(kind="audio", port=9, profile="", fmt=[])
    media.rtp = RTCRtpParameters(codecs=codecs or [], headerExtensions=extensions or [])
    description = SessionDescription()
    description.media.append(media)
    return description


def numbers_of(codecs: list[RTCRtpCodecParameters]) -> list[int | None]:
    return [x.payloadType for x in codecs]


def test_nothing_known() -> None:
    """
    In a new session everything has the number that it has of old.
    """
    numbers = MediaNumbers()
    for kind in ("audio", "video"):
        available = copy.deepcopy(CODECS[kind])
        assert numbers.number_codecs(available, [], keep_order=True) == CODECS[kind]
    extensions = [extension(3, "a"), extension(7, "b")]
    assert numbers.number_extensions(extensions) == extensions


def test_available_is_not_changed() -> None:
    """
    What is given, which the base shares among all connections, is not written to.
    """
    numbers = MediaNumbers().learned(
        described([codec(97, "other"), codec(99, "another")])
    )
    before = copy.deepcopy(CODECS["video"])
    numbers.number_codecs(CODECS["video"], [], keep_order=True)
    assert CODECS["video"] == before


def test_taken() -> None:
    """
    A payload type which means something else is not used, nor is a static one changed.
    """
    numbers = MediaNumbers().learned(
        described([codec(96, "other"), codec(97, "another")])
    )
    (found,) = numbers.number_codecs([codec(96)], [], keep_order=True)
    assert found.payloadType not in {96, 97}
    (static,) = numbers.number_codecs([codec(8, "PCMA")], [], keep_order=True)
    assert static.payloadType == 8


def test_known() -> None:
    """
    A codec which the session knows under a number keeps it in other sections.
    """
    # RFC 9143 section 9
    numbers = MediaNumbers().learned(described([codec(111)]))
    (found,) = numbers.number_codecs([codec(96)], [], keep_order=True)
    assert found.payloadType == 111


def test_own_choice_is_remembered() -> None:
    """
    A number which was chosen for one section of an offer is not chosen for another.
    """
    numbers = MediaNumbers().learned(described([codec(96, "other")]))
    (first,) = numbers.number_codecs([codec(96)], [], keep_order=True)
    (second,) = numbers.number_codecs([codec(96, "third")], [], keep_order=True)
    (again,) = numbers.number_codecs([codec(96)], [], keep_order=True)
    assert len({96, first.payloadType, second.payloadType}) == 3
    assert again.payloadType == first.payloadType


def test_copy() -> None:
    """
    What is chosen in a copy, for an offer that may never be applied, stays there.
    """
    numbers = MediaNumbers().learned(
        described([codec(96, "other")], [extension(1, "other")])
    )
    offer = MediaNumbers(numbers)
    (found,) = offer.number_codecs([codec(96)], [], keep_order=True)
    (uri,) = offer.number_extensions([extension(1, "mine")])
    assert found.payloadType not in {None, 96}
    assert uri.id != 1
    theirs = codec(found.payloadType or 0, "theirs")
    assert numbers.number_codecs([theirs], [], keep_order=True) == [theirs]
    other = extension(uri.id, "theirs")
    assert numbers.number_extensions([other]) == [other]


def test_order() -> None:
    """
    Negotiated codecs come first, in their order, unless the preferences decide.
    """
    numbers = MediaNumbers()
    negotiated = [codec(110, "b"), codec(111, "a")]
    numbers = numbers.learned(described(negotiated))
    available = [codec(1 + 96, "a"), codec(2 + 96, "b"), codec(3 + 96, "c")]
    kept = MediaNumbers(numbers).number_codecs(available, negotiated, keep_order=True)
    assert [x.name for x in kept] == ["b", "a", "c"]
    chosen = MediaNumbers(numbers).number_codecs(
        available, negotiated, keep_order=False
    )
    assert [x.name for x in chosen] == ["a", "b", "c"]
    assert set(numbers_of(kept)) == set(numbers_of(chosen))


def test_second_range() -> None:
    """
    When the dynamic payload types are used up, there are those below 64.
    """
    # RFC 5761 section 4
    numbers = MediaNumbers().learned(
        described([codec(x, f"x{x}") for x in range(96, 128)])
    )
    (found,) = numbers.number_codecs([codec(96)], [], keep_order=True)
    assert found.payloadType in range(35, 64)


def test_no_number_left() -> None:
    """
    What has no number left is not offered, and what was negotiated still is.
    """
    numbers = MediaNumbers().learned(
        described(
            [codec(x, f"x{x}") for x in FREE_PAYLOAD_TYPES],
            [extension(x, f"x{x}") for x in FREE_EXTENSION_IDS],
        )
    )
    known = codec(100, "x100")
    found = numbers.number_codecs([codec(96), known], [known], keep_order=True)
    assert found == [known]
    assert numbers.number_extensions([extension(1, "mine")]) == []


def test_extension_ids() -> None:
    """
    A header extension keeps its id, or gets one which is unused and not 15.
    """
    # RFC 8285 section 4.2
    numbers = MediaNumbers().learned(
        described(None, [extension(4, "a"), extension(1, "b")])
    )
    a, c = numbers.number_extensions([extension(1, "a"), extension(4, "c")])
    assert a.id == 4
    assert c.id in set(range(1, 15)) - {1, 4}


NAMES = st.sampled_from("abcdefgh")


def codec_lists(
    numbers: Iterable[int],
) -> st.SearchStrategy[list[RTCRtpCodecParameters]]:
    return st.lists(
        st.builds(codec, st.sampled_from([*numbers]), NAMES),
        max_size=6,
        unique_by=(lambda x: x.payloadType, lambda x: x.name),
    )


@given(
    theirs=st.lists(codec_lists(FREE_PAYLOAD_TYPES), max_size=4),
    ours=codec_lists(range(96, 128)),
)
@settings(max_examples=50, deadline=None)
def test_no_other_meaning(
    theirs: list[list[RTCRtpCodecParameters]], ours: list[RTCRtpCodecParameters]
) -> None:
    """
    Whatever the peer has said, we give none of its numbers another meaning, and none
    two meanings of our own.
    """
    numbers = MediaNumbers()
    known: dict[int | None, str] = {}
    for codecs in theirs:
        fresh = [x for x in codecs if x.payloadType not in known]
        numbers = numbers.learned(described(fresh))
        known.update((x.payloadType, meaning(x)) for x in fresh)
    for _ in range(2):
        found = numbers.number_codecs(ours, [], keep_order=True)
        assert sorted(map(meaning, found)) == sorted(map(meaning, ours))
        assert len(set(numbers_of(found))) == len(found)
        for x in found:
            assert known.get(x.payloadType, meaning(x)) == meaning(x)
