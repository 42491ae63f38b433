"""
Runs the base's tests with our classes, in processes of their own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import sdist

HERE = Path(__file__).parent

FILES = (
    "test_contrib_media.py",
    "test_ortc.py",
    "test_rtcicetransport.py",
    "test_rtcpeerconnection.py",
)

_PYTEST = (sys.executable, "-m", "pytest", "-c", "pytest.ini", "-p", "no:cacheprovider")

#: Processes side by side: the tests wait for most of their time.
PARTS = 4

#: Seconds after which a process is stopped; each needs about 30.
TIME_LIMIT = 300.0


@dataclass
class Result:
    """
    How a test ended.
    """

    outcome: str
    """
    Possible values: `"failed"`, `"passed"` and `"skipped"`.
    """

    text: str = ""
    """
    The traceback, or why there is none.
    """


@dataclass
class Report:
    """
    What a run of the base's tests brought.
    """

    accidents: list[str] = field(default_factory=list)
    """
    How processes ended which did not end with a summary of their tests.
    """

    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    """
    How many objects were made, by name of the class and `"ours"` or `"stock"`.
    """

    replaced: dict[str, set[str]] = field(default_factory=dict)
    """
    The names which were replaced, by file.
    """

    results: dict[str, Result] = field(default_factory=dict)
    """
    How the tests ended, by test.
    """


@dataclass
class Suite:
    """
    The base's tests.
    """

    directory: Path
    """
    Where they are.
    """

    ids: tuple[str, ...]
    """
    Their names, such as `test_ortc.py::OrtcTest::test_sctp`.
    """

    def run(
        self,
        ids: Sequence[str],
        package: str = "aiortc_restart",
        path: Path = HERE.parents[1],
        parts: int = PARTS,
        time_limit: float = TIME_LIMIT,
    ) -> Report:
        """
        Run tests with the classes of a package in place of the base's.

        :param ids:        The names of the tests.
        :param package:    The package which holds the classes.
        :param path:       The directory which holds the package.
        :param parts:      How many processes share the tests.
        :param time_limit: Seconds after which a process is stopped.
        :rtype: Report
        """
        end = time.monotonic() + time_limit
        report = Report()
        with tempfile.TemporaryDirectory() as temporary:
            processes = [
                _Part(self, part_ids, package, path, Path(temporary) / str(number))
                for number in range(parts)
                # Neighbours are of a kind, so each process gets some of the slow ones.
                if (part_ids := ids[number::parts])
            ]
            try:
                for part in processes:
                    part.wait(end, time_limit)
                    part.add_to(report)
            finally:
                for part in processes:
                    part.stop()
        return report


def find_suite() -> Suite:
    """
    Return the base's tests, fetched on first use.

    Raises :class:`SdistUnavailable` if pip cannot fetch them.
    """
    directory = sdist.unpacked()
    listing = directory / "collected.json"
    if not listing.exists():
        # In one step, so that another run never reads half of it.
        partial = listing.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(_collect(directory)), encoding="utf-8")
        partial.replace(listing)
    return Suite(directory, tuple(json.loads(listing.read_text(encoding="utf-8"))))


class _Part:
    """
    A process which runs some of the tests.
    """

    def __init__(
        self, suite: Suite, ids: Sequence[str], package: str, path: Path, file: Path
    ) -> None:
        self._accident = True
        self._ids = ids
        self._lines = file.with_suffix(".jsonl")
        self._output = file.with_suffix(".txt")
        self._reason = ""
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*_PYTEST, "-p", "substitution", "--substitute", package]
                + ["--report", str(self._lines)]
                + [f"tests/{test_id}" for test_id in ids],
                cwd=suite.directory,
                env=_environment(path),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def add_to(self, report: Report) -> None:
        """
        Add what the process reported to a report, and what it failed to report.
        """
        running = ""
        for line in self._read():
            match line["kind"]:
                case "start":
                    running = line["id"]
                case "finish":
                    running = ""
                    test_id = line["id"].removeprefix("tests/")
                    report.results[test_id] = Result(line["outcome"], line["text"])
                case "module":
                    name = line["module"].removeprefix("tests.") + ".py"
                    report.replaced.setdefault(name, set()).update(line["names"])
                case "made":
                    report.made[line["name"], line["whose"]] += line["count"]
        where = f" in {running}" if running else ""
        text = f"{self._reason}{where}\n{self._tail()}"
        if self._accident:
            report.accidents.append(text)
        for test_id in self._ids:
            report.results.setdefault(test_id, Result("failed", text))

    def stop(self) -> None:
        """
        End the process.
        """
        self._process.kill()
        self._process.wait()

    def wait(self, end: float, time_limit: float) -> None:
        """
        Wait until the process has ended, or stop it.

        :param end:        The monotonic time at which it is stopped.
        :param time_limit: Seconds which it had, for the message.
        """
        try:
            status = self._process.wait(max(0, end - time.monotonic()))
            self._reason = f"pytest ended with status {status}"
            self._accident = status not in (0, 1)
        except subprocess.TimeoutExpired:
            self.stop()
            self._reason = f"pytest was stopped after {time_limit} s"

    def _read(self) -> list[dict[str, Any]]:
        if not self._lines.exists():
            return []
        # The last line has no end if the process was killed while it wrote.
        lines = self._lines.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def _tail(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")[-5000:]


def _collect(directory: Path) -> list[str]:
    done = subprocess.run(
        [*_PYTEST, "--collect-only", "--quiet", "--disable-warnings"]
        + [f"tests/{name}" for name in FILES],
        cwd=directory,
        env=_environment(HERE.parents[1]),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"aiortc's tests cannot be collected: {done.stdout}")
    lines = done.stdout.splitlines()
    return [line.removeprefix("tests/") for line in lines if "::" in line]


def _environment(path: Path) -> dict[str, str]:
    # Settings meant for our own run, such as warnings as errors, are not for theirs.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "PYTHONWARNINGS"))
    }
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(HERE), str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return environment
