from pathlib import Path

import aiortc
import pytest

from .call import calling
from .descriptions import assert_numbers_kept
from .local import LocalPeer
from .media import Clip
from .remote import remote_peer

pytestmark = pytest.mark.interop

ROUNDS = 3


@pytest.mark.parametrize("first", ["local", "remote"], ids="{}-first".format)
@pytest.mark.parametrize("offerer", ["local", "remote"], ids="{}-again".format)
async def test_renegotiation(
    connection: type[aiortc.RTCPeerConnection],
    other: str,
    first: str,
    offerer: str,
    movie: Path,
    clip: Clip,
) -> None:
    """
    Either end may offer again, whoever offered first: what was negotiated stays.
    """
    async with (
        remote_peer(other) as remote,
        calling(LocalPeer(connection, movie), remote, first, clip) as call,
    ):
        for _ in range(ROUNDS):
            await call.negotiate(offerer)
            await call.flowing()
        call.assert_intact(await call.drain())

    offers = [d.sender for d in call.descriptions if d.type == "offer"]
    assert offers == [first] + ROUNDS * [offerer]
    assert_numbers_kept(call.descriptions)
    # Nothing has restarted.
    for sender in ("local", "remote"):
        assert len({d.ufrag for d in call.described(sender)}) == 1
