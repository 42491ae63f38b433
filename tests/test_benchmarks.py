"""
What the benchmarks' exit status says.
"""

import resource
import sys

import pytest

from .benchmarks import __main__ as benchmarks
from .benchmarks.harness import Row


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """
    What the only benchmark measures. It is beside libwebrtc, which is there.
    """
    rows: list[Row] = []

    async def measure(quick: bool) -> list[Row]:
        return rows

    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"outages": measure})
    monkeypatch.setattr(benchmarks, "missing", lambda _: None)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    return rows


def status(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tests.benchmarks", *arguments])
    return benchmarks.main()


@pytest.mark.parametrize("holds", [True, False])
def test_limits(
    measured: list[Row],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    holds: bool,
) -> None:
    """
    A missed limit is an error, and with `--figures` it is only shown.
    """
    measured.append(Row("speed", ours="3", limit="2", holds=holds))
    assert status(monkeypatch) == (0 if holds else 1)
    assert status(monkeypatch, "--figures") == 0
    verdict = "holds" if holds else "MISSED"
    assert capsys.readouterr().out.count(verdict) == 2


def test_missing_peer(
    measured: list[Row],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    A peer which is not there leaves its column empty, and with `--figures` it is an
    error.
    """
    monkeypatch.setattr(benchmarks, "missing", lambda name: f"there is no {name}")
    assert status(monkeypatch) == 0
    assert status(monkeypatch, "--figures") == 1
    assert capsys.readouterr().err == "there is no wrtc\n"


def test_failing_benchmark(
    measured: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A benchmark which does not come to its end is an error in any case.
    """

    async def measure(quick: bool) -> list[Row]:
        raise TimeoutError

    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"outages": measure})
    with pytest.raises(TimeoutError):
        status(monkeypatch, "--figures")
