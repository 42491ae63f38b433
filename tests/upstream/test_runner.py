"""
The runner sees what is wrong with the classes it is given.
"""

from pathlib import Path

import pytest

from .runner import Report, Result, Suite

GATHER = "test_rtcicetransport.py::RTCIceGathererTest::test_gather"
LATER = "test_rtcicetransport.py::RTCIceTransportTest::test_construct"
PARSE = "test_rtcicetransport.py::ParseStunTurnUriTest::test_stun"

pytestmark = pytest.mark.upstream


def run(suite: Suite, path: Path, gather: str, time_limit: float = 300.0) -> Report:
    """
    Run tests in one process with a gatherer of which one method is given.
    """
    lines = [
        "import os, time",
        "import aiortc",
        "from aiortc import *",
        "class RTCIceGatherer(aiortc.RTCIceGatherer):",
        "    async def gather(self):",
        f"        {gather}",
    ]
    (path / "stand_in.py").write_text("\n".join(lines), encoding="utf-8")
    return suite.run([PARSE, GATHER, LATER], "stand_in", path, 1, time_limit)


def test_run(suite: Suite, tmp_path: Path) -> None:
    """
    A class which does what the base's does passes, and is known to have been used.
    """
    report = run(suite, tmp_path, "await super().gather()")
    assert report.results == dict.fromkeys([PARSE, GATHER, LATER], Result("passed"))
    assert report.replaced["test_rtcicetransport.py"] == {"RTCIceGatherer"}
    assert report.accidents == []
    assert report.made == {("RTCIceGatherer", "ours"): 2}


def test_run_base(suite: Suite) -> None:
    """
    The base's own classes are refused.
    """
    result = suite.run([PARSE], "aiortc").results[PARSE]
    assert result.outcome == "failed"
    assert "aiortc replaces none of aiortc's classes" in result.text


def test_run_crash(suite: Suite, tmp_path: Path) -> None:
    """
    A test in which the process dies is named, the ones before it keep their outcomes.
    """
    report = run(suite, tmp_path, "os._exit(3)")
    assert len(report.accidents) == 1
    assert report.results[GATHER].outcome == "failed"
    assert f"ended with status 3 in tests/{GATHER}" in report.results[GATHER].text
    assert report.results[LATER].outcome == "failed"
    assert report.results[PARSE] == Result("passed")


def test_run_failure(suite: Suite, tmp_path: Path) -> None:
    """
    A test which fails does so with its traceback.
    """
    report = run(suite, tmp_path, "raise LookupError('no way')")
    assert report.results[GATHER].outcome == "failed"
    assert "LookupError: no way" in report.results[GATHER].text
    assert report.results[PARSE] == report.results[LATER] == Result("passed")


def test_run_hang(suite: Suite, tmp_path: Path) -> None:
    """
    A test which does not end is stopped.
    """
    report = run(suite, tmp_path, "time.sleep(600)", time_limit=3)
    result = report.results[GATHER]
    assert len(report.accidents) == 1
    assert result.outcome == "failed"
    assert "stopped after 3 s" in result.text
