"""
The parts of the call between two terminals: when it restarts, the terminal, the media.
"""

import asyncio
import contextlib
import os
import pty
import termios
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TextIO

import av
import pytest
from aiortc.mediastreams import VideoStreamTrack
from av import VideoFrame

from examples.videocall_cli.media import MovingBars, Pictures, Sink
from examples.videocall_cli.recovery import PATIENCE, Recovery
from examples.videocall_cli.terminal import Terminal

from ..network import Network
from ..utils import Pair, connected_pair, negotiate, states, until


@contextlib.asynccontextmanager
async def disconnected(network: Network) -> AsyncIterator[tuple[Pair, list[str]]]:
    """
    A call whose offerer recovers and has lost its path, and what it says.
    """
    said: list[str] = []
    async with connected_pair(network) as pair:
        Recovery(pair.offerer, said.append)
        network.cut("alice")
        await until(lambda: pair.offerer.iceConnectionState == "disconnected")
        yield pair, said


async def test_restart_after_disconnected(network: Network) -> None:
    """
    A path that stays disconnected is replaced after three seconds.
    """
    async with disconnected(network) as (pair, said):
        pc = pair.offerer
        history = states(pc)
        await asyncio.sleep(PATIENCE - 0.1)
        assert said == []
        assert history.negotiationneeded == 0
        await asyncio.sleep(0.2)
        assert said == ["Restarting ICE, as it is disconnected."]
        assert history.negotiationneeded == 1
        network.heal()
        await negotiate(pc, pair.answerer)
        await until(lambda: pc.iceConnectionState == "completed")
        await pair.exchange()
        assert len(said) == 1


async def test_no_restart_if_it_heals(network: Network) -> None:
    """
    A path that heals within three seconds is left alone.
    """
    async with disconnected(network) as (pair, said):
        pc = pair.offerer
        await asyncio.sleep(PATIENCE / 2)
        network.heal()
        await until(lambda: pc.iceConnectionState == "completed")
        await asyncio.sleep(2 * PATIENCE)
        assert said == []


async def test_restart_after_failed(network: Network) -> None:
    """
    What has failed is restarted at once, each time; nothing is after the end.
    """
    said: list[str] = []
    async with connected_pair(network) as pair:
        pc = pair.offerer
        Recovery(pc, said.append)
        network.cut("alice")
        for count in (1, 2):
            await until(lambda: pc.iceConnectionState == "failed", timeout=90)
            assert said.count("Restarting ICE, as it is failed.") == count
            await negotiate(pc, pair.answerer)
            await until(lambda: pc.iceConnectionState == "checking")
    before = len(said)
    await asyncio.sleep(2 * PATIENCE)
    assert len(said) == before


async def test_closed_while_disconnected(network: Network) -> None:
    """
    A connection that is closed within the three seconds is left alone.
    """
    said: list[str] = []
    async with connected_pair(network) as pair:
        Recovery(pair.offerer, said.append)
        network.cut("alice")
        await until(lambda: pair.offerer.iceConnectionState == "disconnected")
    await asyncio.sleep(2 * PATIENCE)
    assert said == []


@contextlib.contextmanager
def files(path: str) -> Iterator[tuple[TextIO, TextIO]]:
    """
    Open a file for reading and for writing.
    """
    with open(path) as source, open(path, "w") as target:
        yield source, target


@contextlib.contextmanager
def opened_terminal() -> Iterator[tuple[int, TextIO, TextIO]]:
    """
    Make a terminal, and return the other side of it and what a program has.
    """
    controller, end = pty.openpty()
    try:
        with files(os.ttyname(end)) as (source, target):
            yield controller, source, target
    finally:
        os.close(controller)
        os.close(end)


async def test_terminal_restored() -> None:
    """
    Whatever happens within, the terminal is what it was.
    """
    with opened_terminal() as (_, source, target):
        before = termios.tcgetattr(source)
        with pytest.raises(ZeroDivisionError), Terminal(source, target):
            assert termios.tcgetattr(source) != before
            raise ZeroDivisionError
        assert termios.tcgetattr(source) == before


async def test_terminal_keys_and_messages() -> None:
    """
    What is pasted is told from the keys, in whatever pieces it comes; a status line
    is as wide as the terminal at most, and what is said stands above it.
    """
    with opened_terminal() as (controller, source, target):
        termios.tcsetwinsize(source, (24, 10))
        with Terminal(source, target) as terminal:
            for piece in (b"r", b'{"a":', b" {}}", b"\ns\xc3", b"\xa4"):
                os.write(controller, piece)
                await asyncio.sleep(0.01)
            await until(lambda: terminal.keys.qsize() == 3)
            assert [terminal.keys.get_nowait() for _ in "rsä"] == ["r", "s", "ä"]
            assert terminal.messages.get_nowait() == '{"a": {}}'
            terminal.show("0123456789abc")
            terminal.say("hello")
        shown = os.read(controller, 1000).decode()
        assert shown == "012345678\r\x1b[Khello\r\n012345678\r\x1b[K"


async def test_no_terminal(tmp_path: Path) -> None:
    """
    Without a terminal there are no keys, and no status line.
    """
    path = tmp_path / "output"
    path.touch()
    with files(str(path)) as both, Terminal(*both) as terminal:
        terminal.show("status")
        terminal.say("hello")
    assert path.read_text() == "hello\n"


async def test_moving_bars() -> None:
    """
    Each picture differs from the one before.
    """
    track = MovingBars()
    frames = [await track.recv() for _ in range(4)]
    track.stop()
    times = [x.time for x in frames]
    assert times == sorted(set(times), key=lambda x: x or 0)
    pictures = {bytes(x.to_ndarray(format="rgb24")) for x in frames}
    assert len(pictures) == 4


class Frames(VideoStreamTrack):
    """
    Pictures at given times, in 1/90000 s.
    """

    def __init__(self, times: list[int]) -> None:
        super().__init__()
        self._bars = MovingBars()
        self._times = times

    async def recv(self) -> VideoFrame:
        if not self._times:
            await asyncio.get_running_loop().create_future()
        frame = await self._bars.recv()
        frame.pts = self._times.pop(0)
        return frame


async def test_recording_of_too_many_pictures(tmp_path: Path) -> None:
    """
    Pictures which come too fast, or at one time, do not spoil the recording.
    """
    times = [0, 10, 3000, 4000, 5000, 6000, 6000, 5990, 90000]
    assert [(await Pictures(Frames([x])).recv()).pts for x in times[2:4]] == [1, 1]
    path = tmp_path / "x.mp4"
    sink = Sink(path)
    sink.add_track(Frames(times))
    await sink.start()
    await until(lambda: times == [])
    await asyncio.sleep(0.1)
    await sink.stop()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4


async def test_recording_of_nothing(tmp_path: Path) -> None:
    """
    A call that never came up leaves an empty file.
    """
    path = tmp_path / "x.mp4"
    sink = Sink(path)
    await sink.stop()
    assert path.stat().st_size == 0
