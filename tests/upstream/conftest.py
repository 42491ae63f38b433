"""
Makes a test of ours of each test of the base's, from one run of them all.
"""

import functools
import os

import pytest

from .runner import Report, Suite, find_suite
from .sdist import SdistUnavailable


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """
    Give each test which asks for an `upstream_id` the names of the base's tests.
    """
    if "upstream_id" in metafunc.fixturenames:
        suite = find_or_explain()
        ids = suite.ids if isinstance(suite, Suite) else ("unavailable",)
        # pytest shortens long names which it makes itself.
        metafunc.parametrize("upstream_id", ids, ids=ids)


@functools.cache
def find_or_explain() -> Suite | str:
    """
    Return the base's tests, or why they could not be fetched.
    """
    try:
        return find_suite()
    except SdistUnavailable as exc:
        return str(exc)


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest, suite: Suite) -> Report:
    """
    What the selected ones of the base's tests brought, or all if none is selected.
    """
    selected = [
        str(item.callspec.params["upstream_id"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and "upstream_id" in item.callspec.params
    ]
    return suite.run(selected or suite.ids)


@pytest.fixture(scope="session")
def suite() -> Suite:
    """
    The base's tests.
    """
    found = find_or_explain()
    if isinstance(found, str):
        # Where they have to run, their absence must not go unseen.
        if os.environ.get("CI"):
            pytest.fail(f"aiortc's tests are missing: {found}", pytrace=False)
        pytest.skip(f"aiortc's tests are missing: {found}")
    return found
