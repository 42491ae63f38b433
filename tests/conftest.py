"""
Asynchronous tests run in virtual time if they ask for the `network`, else in real time.
"""

import gc
import inspect
import signal

import pytest

from .network import Network, two_hosts
from .utils import run_in_real_time


@pytest.fixture
def network() -> Network:
    """
    A simulated network with two hosts, "alice" and "bob".
    """
    return two_hosts()


def pytest_configure() -> None:
    # What runs in the background inherits that it is ignored, and so would the programs
    # which tests interrupt.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    # Each test ends with a garbage collection, which need not look at all the modules.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = inspect.signature(function).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    network = arguments.get("network")
    if isinstance(network, Network):
        network.run(function(**arguments))
    else:
        run_in_real_time(function(**arguments))
    return True
