"""
Both ends negotiate when they need to, also at the same moment.
"""

import pytest

from .perfect import Wish, conversing
from .remote import remote_peer

pytestmark = pytest.mark.interop

ROUNDS = 3


@pytest.mark.parametrize("other", ["chromium", "firefox"], indirect=True)
@pytest.mark.parametrize("polite", [True, False], ids=["polite", "impolite"])
async def test_perfect_negotiation(other: str, polite: bool) -> None:
    """
    Offers which meet are sorted out, whichever end gives way, and nothing that either
    end asked for is forgotten.
    """
    async with (
        remote_peer(other, "perfect.html") as remote,
        conversing(remote, polite) as conversation,
    ):
        both = Wish(channel=True, tracks=("audio",))
        await conversation.meet(both, both)
        report = await conversation.settled()

        both = Wish(restart=True)
        await conversation.meet(both, both)
        report = await conversation.settled(report)

        # Chromium cannot add a section of another kind after it has taken back its own
        # first offer: it mixes up the ids of header extensions in that one and in ours.
        await conversation.meet(
            Wish(restart=True, tracks=("video",)), Wish(channel=True, restart=True)
        )
        report = await conversation.settled(report)

        await conversation.want(Wish(restart=True))
        report = await conversation.settled(report)

        await conversation.want(theirs=Wish(restart=True, tracks=("video",)))
        report = await conversation.settled(report)

        # Whether these meet is left to chance.
        both = Wish(channel=True, restart=True)
        for _ in range(ROUNDS):
            await conversation.want(both, both)
            report = await conversation.settled(report)
