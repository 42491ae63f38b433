"""
What the documentation shows is what runs, and all that is public is in it.
"""

import re
from pathlib import Path

import pyee.asyncio
import pytest

import aiortc_restart

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.rst"))


@pytest.mark.parametrize("page", PAGES, ids=lambda x: x.stem)
def test_code_is_included(page: Path) -> None:
    """
    Each program in a page is included from a file that runs, none is typed in.
    """
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"\.\. (code|code-block|sourcecode|highlight)::", text) == []
    assert [x for x in text.splitlines() if x.endswith("::") and ".. " not in x] == []
    for name in re.findall(r"\.\. literalinclude:: (.*)", text):
        assert (DOCS / name).is_relative_to(DOCS / ".." / "examples")
        assert (DOCS / name).is_file()


def test_members_are_documented() -> None:
    """
    The reference lists each public member of a connection.
    """
    members = {x for x in dir(aiortc_restart.RTCPeerConnection) if x[0] != "_"}
    members -= set(dir(pyee.asyncio.AsyncIOEventEmitter))
    api = (DOCS / "api.rst").read_text(encoding="utf-8")
    listed = re.search(r":: RTCPeerConnection\n   :members: ([\w,\s]*?)\n\n", api)
    assert listed
    assert set(re.split(r",\s+", listed[1].strip())) == members


def test_names_are_documented() -> None:
    """
    The reference has each name which is not aiortc's own.
    """
    own = {
        name
        for name in aiortc_restart.__all__
        if getattr(getattr(aiortc_restart, name), "__module__", "").startswith(
            "aiortc_restart"
        )
    }
    api = (DOCS / "api.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"auto(?:class|exception):: (\w+)", api))
    # It is made by the transports.
    assert own - listed == {"RTCIceGatherer"}
