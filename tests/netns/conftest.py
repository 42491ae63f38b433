"""
Tests that ask for the `lab` run in real time on hosts in network namespaces.
"""

import inspect
from collections.abc import Iterator

import aioice.ice
import pytest

from ..utils import run_in_real_time
from .lab import Lab, LabLoop, missing

LIMIT = 240.0
"Seconds which a test may take: some wait until an outage is over."


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """
    The hosts "alice", "bob" and "server", each on the paths "wifi" and "lte".
    """
    if reason := missing():
        pytest.skip(reason)
    with Lab() as lab:
        monkeypatch.setattr(aioice.ice, "get_host_addresses", lab.host_addresses)
        yield lab


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    lab = pyfuncitem.funcargs.get("lab")
    if not isinstance(lab, Lab):
        return None
    function = pyfuncitem.obj
    names = inspect.signature(function).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    run_in_real_time(
        function(**arguments), loop_factory=lambda: LabLoop(lab), limit=LIMIT
    )
    return True
