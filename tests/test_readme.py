"""
What README.md shows is what runs.
"""

import asyncio
import re
from pathlib import Path

import pytest

from examples import minimal, perfect_negotiation, trickle

ROOT = Path(__file__).parent.parent


def test_code_is_in_examples() -> None:
    """
    Each piece of Python in the README stands so in one of the examples.
    """
    files = [
        path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.py")
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        assert any(block in file for file in files), block


def test_links() -> None:
    """
    Each file which the README links to exists.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", readme)
    assert links
    assert [x for x in links if not (ROOT / x).exists()] == []


def test_commands() -> None:
    """
    Each make target which the README names exists.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?:`|\$ )make ([a-z-]+)", readme)
    assert {"demo", "test"} <= set(targets)
    assert [x for x in targets if f"\n{x}:" not in makefile] == []


async def test_minimal() -> None:
    """
    The program of the README runs, and ends by itself.
    """
    await asyncio.wait_for(minimal.main(), 60)


async def test_perfect_negotiation() -> None:
    """
    The pattern of the README copes with offers and restarts which meet.
    """
    await asyncio.wait_for(perfect_negotiation.main(), 60)


async def test_trickle(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The program that trickles waits for no server.
    """
    await asyncio.wait_for(trickle.main(), 60)
    assert re.findall("(.*) after", capsys.readouterr().out) == [
        "connected",
        "restarted",
    ]
