"""
The call that moves from Wi-Fi to LTE and back: real namespaces, real processes.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from examples.handover import __main__ as program
from examples.handover import network

from ..netns.lab import missing
from .terminals import Program, recorded, running, shows, without_numbers

MODULE = "examples.handover"


def skip_unless_possible() -> None:
    if reason := missing():
        pytest.skip(reason)


def left_behind(ended: Program) -> list[str]:
    """
    Return the namespaces which a program has left, and the processes in them.
    """
    command = ["ip", "netns", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    prefix = f"handover-{ended.child.pid}-"
    return [x for x in listed.stdout.split() if x.startswith(prefix)]


def test_handover(tmp_path: Path) -> None:
    """
    The call stops with Wi-Fi, goes on over LTE, and moves back before LTE is given up;
    every message comes, and the picture of it is drawn.
    """
    skip_unless_possible()
    picture = tmp_path / "handover.png"
    with running(MODULE, "--png", str(picture), size=(24, 160)) as told:
        # It says each of these once, in this order.
        for step in (
            *(r"the call is up", r"-- Wi-Fi is lost --", r"phone: ICE is disconnected"),
            *(
                r"-- LTE is there --",
                r"phone: has the address 10\.77\.2\.1: restartIce",
            ),
            *(r"-- Wi-Fi is back --", r"has the address 10\.77\.1\.1: restartIce"),
            *(r"-- LTE is lost --", r"Nothing was lost\."),
        ):
            told.expect(step)
        assert told.ended() == 0
        assert left_behind(told) == []
    assert "Traceback" not in told.shown
    paths = [
        re.findall(rf"{end}: the path is (10\.77\.\d)\.\d+:\d+ >", told.shown)
        for end in ("phone", "desk")
    ]
    assert paths == [["10.77.1", "10.77.2", "10.77.1"]] * 2
    assert picture.read_bytes().startswith(b"\x89PNG")

    shown = told.shown.replace(str(picture), "out/handover.png")
    lines = recorded("handover", "sudo python -m examples.handover", shown)
    seen = {without_numbers(x) for x in ("", *lines)}
    assert [x for x in shows("handover") if without_numbers(x) not in seen] == []


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("", signal.SIGINT),
        ("the call is up", signal.SIGINT),
        ("Wi-Fi is lost", signal.SIGTERM),
        ("LTE is there", signal.SIGHUP),
    ],
)
def test_interrupted(moment: str, number: signal.Signals) -> None:
    """
    Whenever it is interrupted, it leaves no namespace.
    """
    skip_unless_possible()
    with running(MODULE, "--seconds", "0.5") as told:
        told.expect(moment or "phone: ICE is checking")
        if number == signal.SIGINT:
            told.child.sendintr()
        else:
            told.child.kill(number)
        assert told.ended() == 130
        assert left_behind(told) == []
        assert "Traceback" not in told.shown


def test_interrupted_at_once() -> None:
    """
    The same while the namespaces are being made, and though Ctrl-C is pressed again.
    """
    skip_unless_possible()
    code = (
        "import os, signal, sys; from examples.handover import network, __main__\n"
        "run = network.run\n"
        "def interrupted(*command, check=True):\n"
        "    run(*command, check=check)\n"
        "    if not check or 'veth' in command: os.kill(os.getpid(), signal.SIGINT)\n"
        "network.run = interrupted; sys.exit(__main__.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130
    names = os.listdir("/run/netns")
    assert [x for x in names if x.startswith(f"handover-{process.pid}-")] == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("os.geteuid", lambda: 1000, "root"),
        ("shutil.which", lambda _: None, "iproute2"),
        ("sys.platform", "darwin", "Linux"),
    ],
    ids=["user", "ip", "platform"],
)
def test_unavailable(
    name: str,
    value: object,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Where there can be no namespaces, one line says why.
    """
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: "/sbin/ip")
    monkeypatch.setattr(name, value)
    monkeypatch.setattr(sys, "argv", ["handover"])
    assert program.main() == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_no_namespaces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A machine which forbids them is told apart from a fault of the program.
    """
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: "/sbin/ip")
    commands = []

    def run(*command: str, check: bool = True) -> None:
        commands.append(command)
        if check:
            raise subprocess.CalledProcessError(1, command, stderr="not permitted\n")

    monkeypatch.setattr(network, "run", run)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["handover"])
    assert program.main() == 2
    assert "says: not permitted" in capsys.readouterr().err
    assert [x[2] for x in commands] == ["add", "del", "del"]
