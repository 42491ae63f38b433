"""
Candidates which travel by themselves, and arrive when and as often as they like.
"""

from pathlib import Path

import aiortc
import pytest

from .media import Clip
from .post import Disorder
from .restarts import ROUNDS, assert_restarts

pytestmark = pytest.mark.interop

SEED = 5

MISSES = {
    "chromium": 0,
    # When we answer, it nominates with its first check, and closes its old sockets when
    # that is answered. We can follow when it has answered ours, a round trip later.
    "firefox": 2,
    # It has no pair between its description and ours.
    "werift": 100,
    "wrtc": 0,
}
"How many messages, 200 of which are a second's, may be lost at a restart."

DISORDERS = {
    "chromium": Disorder(SEED),
    "firefox": Disorder(SEED),
    # It fails if it has no candidate when it begins its checks, and takes what is late
    # for one of its latest generation: between two of its kind, no restart works.
    "werift": Disorder(SEED, prompt=True),
    "wrtc": Disorder(SEED),
}


@pytest.mark.parametrize("first", ["local", "remote"], ids="{}-first".format)
async def test_trickle(
    connection: type[aiortc.RTCPeerConnection],
    other: str,
    first: str,
    movie: Path,
    clip: Clip,
) -> None:
    """
    Both ends trickle, either restarts ICE, and the candidates of each generation may be
    late, in any order, there twice, and there again when the next one has begun.
    """
    both = ["local", "remote"]
    misses = MISSES[other] * ROUNDS
    call = await assert_restarts(
        connection, other, first, both, movie, clip, misses, DISORDERS[other]
    )

    # It was as bad as that, and nobody had our candidates from a description.
    assert call.overtaking > 0
    assert not any(x.ports for x in call.described("local"))
    for end, sender in (("local", "remote"), ("remote", "local")):
        ufrags = {x.ufrag for x in call.described(sender)}
        assert set(call.posts[end].sent) == ufrags
