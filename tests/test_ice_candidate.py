import dataclasses
from typing import Any

import aiortc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiortc_restart import RTCIceCandidate

HOST = "candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host"
REFLEXIVE = (
    "candidate:842163049 1 udp 1677729535 198.51.100.7 61000 typ srflx "
    "raddr 192.0.2.1 rport 50000 generation 0 ufrag aBcD network-cost 999"
)
TCP = "candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active"
NAME = (
    "candidate:1 1 udp 2122260223 0fe3a1b2-7c1d-4b6e-9a55-2f0e6d1c8b4a.local 50000 "
    "typ host"
)


def from_json(candidate: str, **members: Any) -> RTCIceCandidate:
    result = RTCIceCandidate.fromJSON({"candidate": candidate, **members})
    assert result is not None
    return result


def test_from_json() -> None:
    """
    What a browser's candidate says is in the candidate's attributes.
    """
    # webrtc-pc #dom-rtcicecandidateinit
    candidate = from_json(
        REFLEXIVE, sdpMid="audio", sdpMLineIndex=0, usernameFragment="aBcD"
    )
    assert candidate == RTCIceCandidate(
        component=1,
        foundation="842163049",
        ip="198.51.100.7",
        port=61000,
        priority=1677729535,
        protocol="udp",
        type="srflx",
        relatedAddress="192.0.2.1",
        relatedPort=50000,
        sdpMid="audio",
        sdpMLineIndex=0,
    )
    assert candidate.usernameFragment == "aBcD"


@pytest.mark.parametrize("candidate", [HOST, HOST.removeprefix("candidate:")])
def test_from_json_prefix(candidate: str) -> None:
    """
    The attribute's name may be there or not.
    """
    assert from_json(candidate).ip == "192.0.2.1"
    assert from_json(candidate).foundation == "1"


@pytest.mark.parametrize(
    ("member", "extension", "expected"),
    [
        (None, None, None),
        (None, "EXT1", "EXT1"),
        ("MEMB", None, "MEMB"),
        ("MEMB", "EXT1", "MEMB"),
    ],
)
def test_from_json_username_fragment(
    member: str | None, extension: str | None, expected: str | None
) -> None:
    """
    The generation is named by the member, or by the extension in the attribute.
    """
    # RFC 8839 section 5.1
    attribute = HOST if extension is None else f"{HOST} ufrag {extension}"
    assert from_json(attribute, usernameFragment=member).usernameFragment == expected
    if member is None:
        assert from_json(attribute).usernameFragment == expected


@pytest.mark.parametrize("candidate", ["", "candidate:", None])
def test_from_json_end_of_candidates(candidate: str | None) -> None:
    """
    An empty attribute is the end of candidates.
    """
    # webrtc-pc #dom-peerconnection-addicecandidate
    message = {"candidate": candidate, "usernameFragment": "aBcD"}
    assert RTCIceCandidate.fromJSON(message) is None
    assert RTCIceCandidate.fromJSON({}) is None
    assert RTCIceCandidate.fromJSON(None) is None


@pytest.mark.parametrize("candidate", ["", "candidate:", None])
@pytest.mark.parametrize("username", ["aBcD", None])
@pytest.mark.parametrize(("mid", "index"), [("0", None), (None, 0), ("0", 0)])
def test_from_json_end_of_a_section(
    candidate: str | None, username: str | None, mid: str | None, index: int | None
) -> None:
    """
    With an m-section it is the end of that section's candidates, of one generation.
    """
    # webrtc-pc #dom-peerconnection-addicecandidate
    end = RTCIceCandidate.fromJSON(
        {
            "candidate": candidate,
            "sdpMid": mid,
            "sdpMLineIndex": index,
            "usernameFragment": username,
        }
    )
    assert end is not None
    assert (end.sdpMid, end.sdpMLineIndex) == (mid, index)
    assert end.usernameFragment == username
    assert end.candidate == ""
    assert end.toJSON() == {
        "candidate": "",
        "sdpMid": mid,
        "sdpMLineIndex": index,
        "usernameFragment": username,
    }
    assert RTCIceCandidate.fromJSON(end.toJSON()) == end


@pytest.mark.parametrize(
    "candidate",
    [
        "nonsense",
        "candidate:1 1 udp 2122260223 192.0.2.1 50000 typ",
        "candidate:1 1 udp 2122260223 192.0.2.1 50000 type host",
        "candidate:1 one udp 2122260223 192.0.2.1 50000 typ host",
        "candidate:1 1 udp high 192.0.2.1 50000 typ host",
        "candidate:1 1 udp 2122260223 192.0.2.1 http typ host",
        f"{HOST} raddr 192.0.2.1 rport none",
    ],
)
def test_from_json_malformed(candidate: str) -> None:
    """
    An attribute which cannot be parsed is shown in the error.
    """
    with pytest.raises(ValueError, match="Malformed candidate") as caught:
        from_json(candidate)
    assert candidate.removeprefix("candidate:") in str(caught.value)


@pytest.mark.parametrize("message", [[], "candidate", 1, True, [["candidate", ""]]])
def test_from_json_no_object(message: Any) -> None:
    """
    What is no object is no candidate.
    """
    with pytest.raises(ValueError, match="must be an object"):
        RTCIceCandidate.fromJSON(message)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("candidate", 1),
        ("candidate", ["a"]),
        ("candidate", {}),
        ("sdpMid", 0),
        ("sdpMid", {"a": 1}),
        ("sdpMLineIndex", "0"),
        ("sdpMLineIndex", 0.5),
        ("sdpMLineIndex", True),
        ("sdpMLineIndex", -1),
        ("sdpMLineIndex", 65536),
        ("usernameFragment", 5),
        ("usernameFragment", []),
    ],
)
@pytest.mark.parametrize("candidate", [HOST, ""])
def test_from_json_wrong_type(member: str, value: object, candidate: str) -> None:
    """
    A member of another type, or out of range, is named in the error.
    """
    # webrtc-pc #dom-rtcicecandidateinit
    message = {"candidate": candidate, "sdpMid": "0", member: value}
    with pytest.raises(ValueError, match=f"{member} of a candidate must be"):
        RTCIceCandidate.fromJSON(message)


def test_from_json_empty_members() -> None:
    """
    An empty mid beside an index, and an empty username fragment, are none.
    """
    candidate = from_json(HOST, sdpMid="", sdpMLineIndex=0, usernameFragment="")
    assert candidate.sdpMid is None
    assert candidate.sdpMLineIndex == 0
    assert candidate.usernameFragment is None
    # A section without identification-tag is one, too.
    assert from_json(HOST, sdpMid="").sdpMid == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x),
)


@given(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "candidate": JSON | st.sampled_from([HOST, REFLEXIVE, ""]),
            "sdpMid": JSON,
            "sdpMLineIndex": JSON,
            "usernameFragment": JSON,
        },
    )
)
def test_from_json_any_object(message: Any) -> None:
    """
    Whatever a peer sends, it is a candidate, or none, or a `ValueError`.
    """
    try:
        result = RTCIceCandidate.fromJSON(message)
    except ValueError:
        return
    assert result is None or RTCIceCandidate.fromJSON(result.toJSON()) == result


@given(st.text() | st.lists(st.text(max_size=6), max_size=14).map(" ".join))
@example("1 1 udp 1 a 1 typ host ufrag")
def test_from_json_any(candidate: str) -> None:
    """
    Whatever is in the attribute, it is a candidate, or none, or a `ValueError`.
    """
    try:
        result = RTCIceCandidate.fromJSON({"candidate": candidate})
    except ValueError:
        return
    assert result is None or isinstance(result, RTCIceCandidate)


@pytest.mark.parametrize("attribute", [HOST, TCP, NAME])
def test_to_json(attribute: str) -> None:
    """
    The attribute is as it was, and the generation is named in it if it is known.
    """
    candidate = from_json(attribute, sdpMid="0", sdpMLineIndex=0)
    assert candidate.toJSON() == {
        "candidate": attribute,
        "sdpMid": "0",
        "sdpMLineIndex": 0,
        "usernameFragment": None,
    }
    candidate.usernameFragment = "aBcD"
    assert candidate.toJSON() == {
        "candidate": f"{attribute} ufrag aBcD",
        "sdpMid": "0",
        "sdpMLineIndex": 0,
        "usernameFragment": "aBcD",
    }


@pytest.mark.parametrize("attribute", [HOST, REFLEXIVE, TCP, NAME])
@pytest.mark.parametrize("username", [None, "aBcD"])
def test_round_trip(attribute: str, username: str | None) -> None:
    """
    What `toJSON()` gives makes an equal candidate of the same generation.
    """
    candidate = from_json(
        attribute, sdpMid="v", sdpMLineIndex=1, usernameFragment=username
    )
    copy = RTCIceCandidate.fromJSON(candidate.toJSON())
    assert copy == candidate
    assert copy.usernameFragment == candidate.usernameFragment


@pytest.mark.parametrize("attribute", [HOST, TCP, NAME])
def test_candidate(attribute: str) -> None:
    """
    The attribute can be read, with the generation if that is known.
    """
    # webrtc-pc #dom-rtcicecandidate-candidate
    assert from_json(attribute).candidate == attribute
    named = from_json(attribute, usernameFragment="aBcD")
    assert named.candidate == f"{attribute} ufrag aBcD"


def test_equality() -> None:
    """
    Candidates of two generations are the same candidate if all else is the same.
    """
    candidate = from_json(HOST, usernameFragment="aBcD")
    assert candidate == from_json(HOST, usernameFragment="eFgH")
    assert candidate != from_json(HOST.replace("50000", "50001"))


def test_base_fields() -> None:
    """
    It is made as aiortc's is, with one field more at the end.
    """
    base = [x.name for x in dataclasses.fields(aiortc.RTCIceCandidate)]
    ours = [x.name for x in dataclasses.fields(RTCIceCandidate)]
    assert ours == [*base, "usernameFragment"]
    candidate = RTCIceCandidate(1, "1", "192.0.2.1", 50000, 1, "udp", "host")
    assert candidate.usernameFragment is None
