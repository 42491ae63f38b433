"""
The chat of the video call: what is said in an outage arrives after it.
"""

import pytest

from examples.video_call import chat
from examples.video_call.bucket import Bucket

from ..utils import until
from .callers import calling, guest


async def test_outage() -> None:
    """
    Whatever is said on either side of an outage arrives after it, in its order.
    """
    to_ben = [f"from the dark {x}" for x in range(20)]
    to_ann = [f"{x} {'long' * 120}" for x in range(40)]
    async with calling() as caller, guest(caller, "Ann") as ann:
        async with guest(caller, "Ben") as ben:
            await ann.cut(2)
            await until(lambda: any(x.dropped for x in caller.outages()))
            for text in to_ben:
                ann.channel.send(text)
            for text in to_ann:
                ben.channel.send(text)
            # Ben's own line is up.
            await until(lambda: ben.texts == to_ann)
            assert ann.texts == []
            for someone in (ann, ben):
                await until(
                    lambda someone=someone: len(someone.texts) >= 60,  # type: ignore[misc]
                    message=lambda: f"{len(ann.texts)}, {len(ben.texts)}",
                )
                assert [x for x in someone.texts if x in to_ann] == to_ann
                assert [x for x in someone.texts if x in to_ben] == to_ben
                assert someone.errors == []


async def test_too_much_for_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who speaks is told who misses it, as what waits for somebody is bounded.
    """
    monkeypatch.setattr(chat, "MAX_UNREAD", 2000)
    async with calling() as caller, guest(caller, "Ann") as ann:
        async with guest(caller, "Ben") as ben:
            await ann.cut(2)
            await until(lambda: any(x.dropped for x in caller.outages()))
            said = [f"{x} {'long' * 120}" for x in range(60)]
            for text in said:
                ben.channel.send(text)
            await until(lambda: ben.texts == said)
            await until(lambda: len(ann.texts) + len(ben.errors) == len(said))
            missed = len(said) - len(ann.texts)
            assert ann.texts == said[: len(ann.texts)]
            assert ben.errors == ["Ann has too much to read, and misses that."] * missed
            assert 20 < missed < 60


async def test_too_much_of_a_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who says too much is told so, and the others do not get it.
    """
    monkeypatch.setattr(chat, "RATE", 0.0)
    monkeypatch.setattr(chat, "BURST", 3.0)
    async with calling() as caller, guest(caller, "Ann") as ann:
        for text in "abcde":
            ann.channel.send(text)
        await until(lambda: len(ann.errors) == 2)
        assert ann.errors == ["Not so fast: that chat message was not sent."] * 2
        await until(lambda: ann.texts == ["a", "b", "c"])


def test_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a burst as much is allowed as comes in the time; more is not saved up.
    """
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    bucket = Bucket(2.0, 3.0)
    for seconds, allowed in ((0.0, 3), (0.4, 0), (0.2, 1), (1.0, 2), (100.0, 3)):
        now[0] += seconds
        assert [bucket.take() for _ in range(5)].count(True) == allowed
