"""
The demonstration: a call which restarts ICE again and again.
"""

import re
from pathlib import Path

from .terminals import recorded, running, shows, without_numbers

MODULE = "examples.ice_restart"


def test_ice_restart(tmp_path: Path) -> None:
    """
    It tells of each restart and of what was lost, and draws the picture.
    """
    picture = tmp_path / "ice_restart.png"
    arguments = ("--restarts", "1", "--seconds", "1", "--png", str(picture))
    with running(MODULE, *arguments, size=(24, 200)) as told:
        told.expect("alice calls restartIce")
        told.expect(r"The timeline is in \S+")
        told.expect(r"Nothing was lost\.")
        assert told.ended() == 0
    assert "Traceback" not in told.shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = told.shown.replace(str(picture), "out/ice_restart.png")
    lines = recorded(
        "ice_restart", "python -m examples.ice_restart --restarts 1", shown
    )
    seen = {"", *masked(lines)}
    assert [x for x in masked(shows("ice_restart")) if x not in seen] == []


def masked(lines: list[str]) -> list[str]:
    """
    Return lines without numbers, addresses and credentials.
    """
    text = "\n".join(lines)
    for pair in re.findall(r"ms: (\S+) -> (\S+),", text):
        for credential in pair:
            text = text.replace(credential, "ufrag")
    return [without_numbers(x) for x in text.splitlines()]
