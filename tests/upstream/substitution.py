"""
A pytest plugin which puts our classes in the place of the base's.

It is loaded into the process that runs the base's tests. Only the names in the test
modules are replaced: the base's own modules keep theirs, as in an application.
"""

import importlib
import json
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn, TextIO

import aiortc
import pytest


class Substitution:
    """
    Replaces the classes once the test modules are imported, and reports each test.

    :param package: The package whose classes are tested.
    :param report: Where to write what happens, one JSON object a line.
    """

    def __init__(self, package: ModuleType, report: TextIO) -> None:
        self._made: Counter[tuple[str, str]] = Counter()
        self._outcome = "passed"
        self._report = report
        self._replaced = {
            name: (getattr(aiortc, name), getattr(package, name))
            for name in aiortc.__all__
            if getattr(package, name) is not getattr(aiortc, name)
        }
        self._status = 0
        self._text = ""
        for name, (stock, ours) in self._replaced.items():
            if not issubclass(ours, stock):
                raise pytest.UsageError(f"{name} does not derive from aiortc's")
            stock.__new__ = self._counting_new(name, stock, ours)
        if not self._replaced:
            raise pytest.UsageError(
                f"{package.__name__} replaces none of aiortc's classes"
            )

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """
        Replace the classes in each module of the package which holds the tests.
        """
        packages = {
            item.module.__package__
            for item in items
            if isinstance(item, pytest.Function)
        }
        for name, module in list(sys.modules.items()):
            if name.rpartition(".")[0] in packages:
                self._write(kind="module", module=name, names=self._replace(module))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """
        Report how a test ended.
        """
        self._write(kind="finish", id=nodeid, outcome=self._outcome, text=self._text)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Keep the worst outcome of the phases of a test.
        """
        if report.failed or (report.skipped and self._outcome == "passed"):
            self._outcome = report.outcome
            self._text += report.longreprtext

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """
        Report that a test starts, as it may never end.
        """
        self._outcome = "passed"
        self._text = ""
        self._write(kind="start", id=nodeid)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """
        Report how many objects of which classes were made.
        """
        self._status = int(exitstatus)
        for (name, whose), count in self._made.items():
            self._write(kind="made", name=name, whose=whose, count=count)

    def pytest_unconfigure(self) -> None:
        """
        End the process if a test failed.
        """
        # What a failed test did not close may hold threads which never end.
        if self._status != 0:
            sys.stdout.flush()
            os._exit(self._status)

    def _counting_new(
        self, name: str, stock: type[Any], ours: type[Any]
    ) -> Callable[..., Any]:
        original: Callable[..., Any] = stock.__new__

        def new(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
            self._made[name, "ours" if issubclass(cls, ours) else "stock"] += 1
            # The one of object refuses what is meant for __init__.
            if original is object.__new__:
                return original(cls)
            return original(cls, *args, **kwargs)

        return new

    def _replace(self, module: ModuleType) -> list[str]:
        replacements = {id(stock): ours for stock, ours in self._replaced.values()}
        names = []
        for name, value in list(vars(module).items()):
            if id(value) in replacements:
                setattr(module, name, replacements[id(value)])
                names.append(name)
            elif isinstance(value, type) and value.__module__ == module.__name__:
                for stock, ours in self._replaced.values():
                    if issubclass(value, stock) and not issubclass(value, ours):
                        raise pytest.UsageError(f"{name} derives from aiortc's class")
        return names

    def _write(self, **line: object) -> None:
        self._report.write(json.dumps(line) + "\n")
        self._report.flush()


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Add the options which name the classes and the report.
    """
    parser.addoption("--substitute", required=True, help="package with the classes")
    parser.addoption("--report", required=True, help="file to write the outcomes to")


def pytest_configure(config: pytest.Config) -> None:
    """
    Start the substitution.
    """
    # The base's default STUN server is a public one: no test needs its answer.
    socket.gethostbyname = refuse_to_resolve
    report = open(config.getoption("report"), "w", encoding="utf-8")
    config.add_cleanup(report.close)
    package = importlib.import_module(config.getoption("substitute"))
    config.pluginmanager.register(Substitution(package, report))


def refuse_to_resolve(hostname: str) -> NoReturn:
    """
    Fail as where there is no name server.
    """
    raise socket.gaierror(socket.EAI_NONAME, f"{hostname} is not looked up in tests")
