"""
What Chromium tells of two peers after each step of a script, compared with what is told
here: run with `-s` to see both beside each other.
"""

import asyncio
import sys

import pytest

from ..network import Network
from .remote import missing, remote_peer
from .scripts import SCRIPTS, Script
from .traces import Row, differences, table, trace

pytestmark = pytest.mark.interop

Traces = dict[str, list[Row]]


@pytest.fixture(scope="module")
def page_traces() -> Traces:
    """
    The traces of all scripts in a page, which follows them at once.
    """
    if reason := missing("chromium"):
        pytest.skip(reason)

    async def follow() -> Traces:
        async with remote_peer("chromium", "trace.html") as page:
            scripts = [{"steps": x.steps, "trickles": x.trickles} for x in SCRIPTS]
            result = await page.call("traces", scripts=scripts)
        assert result["errors"] == []
        return {
            script.name: [Row(**row) for row in rows]
            for script, rows in zip(SCRIPTS, result["rows"], strict=True)
        }

    return asyncio.run(follow())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
async def test_trace(network: Network, page_traces: Traces, script: Script) -> None:
    """
    Each step has the effects which it has in Chromium, but for known differences.
    """
    page = page_traces[script.name]
    ours = await trace(network, script.steps, script.trickles)
    sys.stdout.write(f"{script.name}\n{table(page, ours)}\n")

    found = differences(page, ours)
    unknown = [str(x) for x in found if not any(y.covers(x) for y in script.known)]
    assert not unknown, "\n".join(unknown)
    gone = [str(y) for y in script.known if not any(y.covers(x) for x in found)]
    assert not gone, "\n".join(gone)
