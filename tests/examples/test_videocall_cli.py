"""
The call between two terminals: two processes, each in a terminal of its own.
"""

import contextlib
import json
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from examples.handover.network import DESK, LTE, PHONE, WIFI, Network
from examples.ice_restart.media import write_video
from examples.videocall_cli import __main__ as program

from ..netns.lab import missing
from .terminals import Program, recorded, running, shows, without_numbers

MODULE = "examples.videocall_cli"

CONNECTED = r"completed  \S+ > \S+  in \d+ out \d+ kbit/s  lost \d+"


@contextlib.contextmanager
def calling(
    *signaling: str, offer: tuple[str, ...] = (), answer: tuple[str, ...] = ()
) -> Iterator[tuple[Program, Program]]:
    """
    Run both ends of a call.
    """
    with running(MODULE, "answer", *signaling, *answer) as answerer:
        # What is pasted before the program runs is not for it.
        answerer.expect("Waiting for the other end" if signaling else "new  no path")
        with running(MODULE, "offer", *signaling, *offer) as offerer:
            yield offerer, answerer


def by_socket(path: Path) -> tuple[str, ...]:
    return ("--signaling", "unix-socket", "--signaling-path", str(path / "call"))


def by_tcp() -> tuple[str, ...]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return ("--signaling", "tcp-socket", "--signaling-port", str(port))


def frames(path: Path, kind: str = "video") -> int:
    """
    Count the frames of a file.
    """
    with av.open(str(path)) as container:
        streams = [x for x in container.streams if x.type == kind]
        return sum(1 for _ in container.decode(streams[0])) if streams else 0


def test_call(tmp_path: Path) -> None:
    """
    Either end restarts the call, and both at once; what came is in the file, and can be
    played into the next call.
    """
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    signaling = by_socket(tmp_path)
    with calling(*signaling, answer=("--record-to", str(first))) as both:
        offerer, answerer = both
        for end in both:
            end.expect(CONNECTED + "  restarts 0")
            assert end.is_raw()
        began = time.monotonic()
        for count, end in enumerate((answerer, offerer), 1):
            end.press("r")
            for each in both:
                each.expect(r"The path is \S+ > \S+, ufrags \S+ > \S+\.")
                each.expect(CONNECTED + f"  restarts {count}")
        for end in both:
            end.press("r")
        for end in both:
            end.expect("Restarting ICE")
            end.expect(CONNECTED + r"  restarts [34]")
        answerer.press("?s")
        answerer.expect("Keys: r restart, s stats, q quit")
        answerer.expect(r"path \S+ > \S+, ufrags \S+ > \S+")
        answerer.expect(r"video in: \d+ packets, \d+ lost")
        seconds = time.monotonic() - began
        offerer.press("q")
        for end in both:
            assert end.ended() == 0
            assert not end.is_raw()
        assert "The other end has hung up." in answerer.shown
    lines = recorded(
        "videocall_cli",
        "python -m examples.videocall_cli answer -s unix-socket --record-to call.mp4",
        answerer.shown,
    )
    seen = {without_numbers(x) for x in lines}
    missing = [x for x in shows("videocall_cli") if without_numbers(x) not in seen]
    assert missing == []
    count = frames(first)
    # 30 pictures a second were sent, and a busy machine sends fewer.
    assert 10 * seconds < count < 40 * (seconds + 5)

    with calling(
        *signaling,
        offer=("--play-from", str(first)),
        answer=("--record-to", str(second)),
    ) as both:
        for end in both:
            end.expect(CONNECTED)
        with av.open(str(first)) as container:
            assert container.duration is not None
            time.sleep(container.duration / av.time_base + 1)
        both[1].press("q")
        for end in both:
            assert end.ended() == 0
    assert 0.9 * count <= frames(second) <= count


def test_other_network(tmp_path: Path) -> None:
    """
    A call whose network is gone restarts by itself after three seconds, on another.
    """
    if reason := missing():
        pytest.skip(reason)
    signaling = by_socket(tmp_path)
    with (
        Network() as network,
        running(
            *(MODULE, "answer", *signaling), within=(*network.command(DESK),)
        ) as answerer,
        running(
            *(MODULE, "offer", *signaling), within=(*network.command(PHONE),)
        ) as offerer,
    ):
        for end in (offerer, answerer):
            end.expect(r"completed  10\.77\.1\.\S+ > 10\.77\.1\.")
        network.leave(WIFI)
        network.join(LTE)
        offerer.expect(r"ICE is disconnected\.")
        began = time.monotonic()
        offerer.expect(r"Restarting ICE, as it is disconnected\.")
        assert 2.5 < time.monotonic() - began < 10
        for end in (offerer, answerer):
            end.expect(r"completed  10\.77\.2\.\S+ > 10\.77\.2\..* restarts 1")
        answerer.press("q")
        assert [x.ended() for x in (offerer, answerer)] == [0, 0]


def test_sound(tmp_path: Path) -> None:
    """
    The end that answers may be the only one which has sound.
    """
    played, recording = tmp_path / "played.webm", tmp_path / "recorded.mp4"
    write_video(played, seconds=2)
    with calling(
        *by_tcp(),
        offer=("--record-to", str(recording)),
        answer=("--play-from", str(played)),
    ) as both:
        offerer, answerer = both
        for end in both:
            end.expect(CONNECTED)
        # The file has ended, and the call goes on.
        time.sleep(3)
        offerer.press("r")
        for end in both:
            end.expect(CONNECTED + "  restarts 1")
        offerer.press("q")
        for end in both:
            assert end.ended() == 0
        assert re.findall("sends (audio|video)", answerer.shown) == ["video"]
        heard = re.findall("sends (audio|video)", offerer.shown)
        assert sorted(heard) == ["audio", "video"]
    # Of 40 a second a recording has 30.
    assert 45 <= frames(recording) <= 61
    assert frames(recording, "audio") > 60


def test_copy_and_paste() -> None:
    """
    People carry the descriptions, which are longer than a line that a terminal edits.
    """
    line = re.compile(r"\{[^\r\n]*\}\r\n")
    with calling() as both:
        offerer, answerer = both
        for count, (one, other) in enumerate([both, both[::-1]]):
            for sender, receiver in ((one, other), (other, one)):
                message = sender.expect(line).strip()
                assert len(json.loads(message)["sdp"]) > 2000
                receiver.press(message + "\n")
            for end in both:
                end.expect(CONNECTED + f"  restarts {count}")
            if count == 0:
                answerer.press("r")
        offerer.press("q")
        # Nobody has carried a goodbye.
        assert [x.ended() for x in both] == [0, 0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path: Path, number: int) -> None:
    """
    Who interrupts the call has the terminal back, and the other end is told.
    """
    with calling(*by_socket(tmp_path)) as both:
        for end in both:
            end.expect(CONNECTED)
        if number == signal.SIGINT:
            both[0].child.sendintr()
        else:
            both[0].child.kill(number)
        assert both[0].ended() == 130
        assert not both[0].is_raw()
        assert "Traceback" not in both[0].shown
        assert both[1].ended() == 0
        assert "The other end has hung up." in both[1].shown


@pytest.mark.parametrize("role", ["offer", "answer"])
def test_alone(tmp_path: Path, role: str) -> None:
    """
    Who waits for the other end may leave.
    """
    with running(MODULE, role, *by_socket(tmp_path)) as end:
        end.expect("new  no path")
        end.press("r")
        end.expect("There is no call yet.")
        end.press("q")
        assert end.ended() == 0
        assert not end.is_raw()
    assert list(tmp_path.iterdir()) == []


def test_no_file(tmp_path: Path) -> None:
    """
    A file which cannot be read, or written, is named.
    """
    nothing = str(tmp_path / "nothing" / "x.mp4")
    for option in ("--play-from", "--record-to"):
        with running(MODULE, "offer", *by_socket(tmp_path), option, nothing) as end:
            assert end.ended() == 2
            assert not end.is_raw()
            assert "There can be no call: " in end.shown
            assert nothing in end.shown
            assert "Traceback" not in end.shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("--signaling-port", "99999"),
        ("--signaling-port", "0"),
        ("--signaling-port", "x"),
        ("--ice-server", "nonsense"),
        ("--ice-server", "turn:192.0.2.1"),
    ],
)
def test_bad_arguments(
    arguments: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    An argument that cannot be used is named.
    """
    monkeypatch.setattr(sys, "argv", ["", "offer", "-s", "tcp-socket", *arguments])
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 2
    assert f"error: argument {arguments[0]}: {arguments[1]} " in capsys.readouterr().err


def test_port_in_use() -> None:
    """
    A port on which somebody else listens is an error.
    """
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        running(
            *(MODULE, "offer", "--signaling", "tcp-socket"),
            *("--signaling-port", str(server.getsockname()[1])),
        ) as end,
    ):
        assert end.ended() == 1
        assert not end.is_raw()
        assert "The other end cannot be reached" in end.shown


def test_bad_messages() -> None:
    """
    What is no message is told, and the call goes on.
    """
    bad = [
        *("hello", "5", "{}", '{"type": "offer"}', '{"type": "candidate"}'),
        *('{"type": "offer", "sdp": 5}', '{"type": "offer", "sdp": "m=audio"}'),
        '{"type": "candidate", "candidate": "candidate:1", "id": "0", "label": 0}',
    ]
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        running(
            *(MODULE, "answer", "--signaling", "tcp-socket"),
            *("--signaling-port", str(server.getsockname()[1])),
        ) as end,
    ):
        connection, _ = server.accept()
        with connection:
            for message in bad:
                connection.sendall(message.encode() + b"\n")
                end.expect("A message cannot be used: [^\r\n]+")
        assert end.ended() == 0
        assert "The other end has hung up." in end.shown
