"""
What the documentation shows is what runs, and all that is public is in it.
"""

import ast
import asyncio
import inspect
import itertools
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pyee.asyncio
import pytest

import aiortc_restart

from .found import asking
from .network import Network
from .utils import negotiate, until

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


def shown_code(cls: type, attribute: str) -> str:
    """
    Return the program in the docstring of an attribute.
    """
    (definition,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(definition, ast.ClassDef)
    body = definition.body
    for field, docstring in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and ast.unparse(field.target) == attribute:
            assert isinstance(docstring, ast.Expr)
            text = inspect.cleandoc(ast.literal_eval(docstring.value))
            return textwrap.dedent(text.partition("::\n\n")[2])
    raise ValueError(f"{attribute} has no docstring")


async def test_trickle(network: Network) -> None:
    """
    What the docstring of iceTrickle shows is all that a trickling call needs.
    """
    code = shown_code(aiortc_restart.RTCConfiguration, "iceTrickle")
    assert 0 < len(code.splitlines()) <= 10
    ends: list[dict[str, Any]] = []
    tasks = []

    def send(message: object, number: int) -> None:
        # It is the peer's, by way of the network.
        receive = ends[1 - number]["receive"]
        tasks.append(asyncio.create_task(receive(json.loads(json.dumps(message)))))

    for number, host in enumerate(("alice", "bob")):
        pc = network.at(host, aiortc_restart.RTCPeerConnection)(asking())
        ends.append(
            {
                "RTCIceCandidate": aiortc_restart.RTCIceCandidate,
                "pc": pc,
                "send": lambda message, number=number: send(message, number),
            }
        )
        exec(code, ends[-1])
    offerer, answerer = (x["pc"] for x in ends)
    channel = offerer.createDataChannel("test")
    offer, answer = await negotiate(offerer, answerer)
    assert "a=candidate" not in offer.sdp + answer.sdp
    await until(lambda: channel.readyState == "open")
    await until(lambda: answerer.iceConnectionState == "completed")
    assert len(tasks) == 4
    await asyncio.gather(*tasks, offerer.close(), answerer.close())
