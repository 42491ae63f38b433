"""
What is accepted of a peer can be shown again, and what is not changes nothing.
"""

import os
import re

import pytest
from aiortc.exceptions import OperationError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aiortc_restart import RTCPeerConnection, RTCSessionDescription
from aiortc_restart.negotiation import text

from .calls import ROLLBACK, answered, edited, offered, peers, switched
from .network import Network, run
from .snapshots import SLOTS, snapshot
from .utils import connected_pair

WORDS = ["", "0", "-5", "x", "1e5", "99999999999", "None", "*", "\u0663", "\ud800"]
ADDRESSES = ["host.example", "x", "::1", "224.2.1.1/127", "0.0.0."]
LINES = [
    *("c=IN IP4 host.example", "c=IN IP6 x", "c=IN", "a=rtcp:9 IN IP4 host.example"),
    *("a=", "m=", "b=AS:x", "a=candidate:x", "a=end-of-candidates", "a=ice-lite"),
    *("a=extmap:1/sendonly x", "a=fingerprint:x y", "a=setup:active", "a=mid:0"),
    *("a=fmtp:96 x", "a=rtcp-fb:* nack", "a=rtpmap:96 x/1", "a=rtcp:x", "a=inactive"),
    *("a=group:BUNDLE 7", "a=group:", "a=msid-semantic:WMS *", "a=msid:- x"),
    *("a=ssrc-group:FID", "a=ssrc:1 label:", "a=max-message-size:x", "a=sctp-port:0"),
]

Edits = list[tuple[int, str, int]]
"Of which line, what is done, and where in it or how."

NUMBERS = st.integers(0, 100)
EDITS = st.lists(
    st.tuples(NUMBERS, st.sampled_from(["drop", "repeat", "cut"]), NUMBERS)
    | st.tuples(NUMBERS, st.sampled_from(WORDS + ADDRESSES), NUMBERS)
    | st.tuples(NUMBERS, st.sampled_from(LINES), NUMBERS),
    min_size=1,
    max_size=3,
)


def spoilt(description: RTCSessionDescription, edits: Edits) -> RTCSessionDescription:
    """
    Return a copy of a description with lines changed, dropped, repeated and inserted.
    """
    lines = description.sdp.splitlines()
    for line, what, number in edits:
        index = line % (len(lines) or 1)
        old = lines[index : index + 1]
        if what == "drop":
            new = []
        elif what == "repeat":
            new = old + old
        elif what == "cut":
            new = [x[: number % (len(x) + 1)] for x in old]
        elif what in LINES:
            new = [*old, what]
        else:
            parts = re.split("([ :/;=]|$)", "".join(old))
            parts[number % len(parts) // 2 * 2] = what
            new = ["".join(parts)]
        lines[index : index + 1] = new
    return RTCSessionDescription(
        sdp="".join(f"{x}\r\n" for x in lines), type=description.type
    )


def add_media(pc: RTCPeerConnection, *_: RTCPeerConnection) -> None:
    pc.addTransceiver("audio")
    pc.addTransceiver("video")


def check_shown(pc: RTCPeerConnection) -> None:
    """
    Check that all descriptions can be shown, and that what is shown can be read.
    """
    for name in SLOTS:
        description = getattr(pc, name)
        if description is not None:
            text.parse(description)


async def take(network: Network, edits: Edits) -> None:
    async with peers(network) as (offerer, pc):
        offerer.createDataChannel("test")
        add_media(offerer)
        offer = await offered(offerer)
        before = snapshot(pc)
        try:
            await pc.setRemoteDescription(spoilt(offer, edits))
        except (OperationError, ValueError):
            assert snapshot(pc) == before
        else:
            check_shown(pc)
            await pc.setRemoteDescription(ROLLBACK)
        await offerer.setRemoteDescription(await answered(pc, offer))
        await switched(offerer, pc)


@given(edits=EDITS)
@example(edits=[(4, "c=IN IP4 host.example", 0)])
@settings(
    max_examples=int(os.environ.get("DESCRIPTIONS", "60")),
    deadline=None,
    derandomize="DESCRIPTIONS" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_offer(edits: Edits) -> None:
    """
    Whatever is accepted can be read, whatever is refused changes nothing, and the next
    good offer works.
    """
    run(take, edits)


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("address", ADDRESSES)
async def test_default_address(network: Network, address: str, side: str) -> None:
    """
    A default address is not used, so that it may be any; one which cannot be shown is
    shown as 0.0.0.0.
    """
    shown = "IN IP6 ::1" if address == "::1" else "IN IP4 0.0.0.0"
    said = f"IN IP{6 if address == '::1' else 4} {address}"
    # RFC 9429 sections 5.8.1 and 5.8.2
    async with connected_pair(network, prepare=add_media) as pair:
        offer = await pair.offerer.createOffer()
        offer = edited(offer, "^s=-\r\n", f"s=-\r\nc={said}\r\n")
        if side == "local":
            await pair.offerer.setLocalDescription(offer)
            assert f"c={shown}" in pair.offerer.localDescription.sdp.split("m=")[0]
            offer = pair.offerer.localDescription
        else:
            await pair.offerer.setLocalDescription()
            offer = edited(offer, "^c=.*\r\n", f"c={said}\r\n")
            offer = edited(offer, "^(a=rtcp:9) .*\r\n", rf"\1 {said}\r\n")
        answer = await answered(pair.answerer, offer)
        if side == "remote":
            lines = pair.answerer.remoteDescription.sdp.splitlines()
            assert {x for x in lines if x[:2] == "c="} == {f"c={shown}"}
            assert {x for x in lines if x[:7] == "a=rtcp:"} == {f"a=rtcp:9 {shown}"}
        await pair.offerer.setRemoteDescription(answer)
        for pc in (pair.offerer, pair.answerer):
            check_shown(pc)
        await pair.exchange()
