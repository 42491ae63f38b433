"""
What the examples promise of their files: each is short, and holds no state.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .terminals import ROOT

DIRECTORY = ROOT / "examples"

LONGEST = 199
"Lines of a file."

ONE_SCREEN = 50
"Lines of a README."

WIDEST = 120
"Columns of a README's text."

KINDS = {".css", ".html", ".js", ".py"}

SOURCES = sorted(x for x in DIRECTORY.rglob("*") if x.suffix in KINDS)

DISPLAYS = (ast.Dict, ast.DictComp, ast.List, ast.ListComp, ast.Set, ast.SetComp)

MAKERS = {"Path", "RTCIceServer", "logging.getLogger", "re.compile"}
"What a constant may be made with."


def name(path: Path) -> str:
    return str(path.relative_to(DIRECTORY))


def readmes() -> list[Path]:
    return sorted(DIRECTORY.rglob("README.md"))


def state_of(module: ast.Module) -> Iterator[str]:
    """
    Find what a module keeps that could change.
    """
    for node in ast.walk(module):
        if isinstance(node, ast.Global):
            yield ast.unparse(node)
    for statement in module.body:
        if isinstance(statement, ast.AugAssign | ast.For | ast.While | ast.With):
            yield ast.unparse(statement)
        value = getattr(statement, "value", None)
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or value is None:
            continue
        # A type may have a list of types within brackets.
        types = {
            inner
            for x in ast.walk(value)
            if isinstance(x, ast.Subscript)
            for inner in ast.walk(x.slice)
        }
        for node in set(ast.walk(value)) - types:
            if isinstance(node, DISPLAYS) or (
                isinstance(node, ast.Call) and ast.unparse(node.func) not in MAKERS
            ):
                yield ast.unparse(statement)


def test_there_are_files() -> None:
    assert {x.suffix for x in SOURCES} == KINDS
    assert len(readmes()) == 4


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_length(path: Path) -> None:
    """
    One can read a file of an example at a sitting.
    """
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", [x for x in SOURCES if x.suffix == ".py"], ids=name)
def test_no_state(path: Path) -> None:
    """
    What changes belongs to an object, and not to a module.
    """
    assert list(state_of(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize("path", [x for x in SOURCES if x.suffix == ".js"], ids=name)
def test_no_state_of_script(path: Path) -> None:
    """
    As in Python, so in the page.
    """
    pattern = r"^(?:export )?(?:let|var)\b.*|^(?:export )?const \w+ = (?:new|\{).*"
    assert re.findall(pattern, path.read_text("utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("calls = []", 1),
        ("calls: dict[str, int] = {}", 1),
        ("calls = set()", 1),
        ("calls = (1, [])", 1),
        ("def call():\n    global calls\n    calls = 1", 1),
        ("calls = 0\ncalls += 1", 1),
        ("NAMES = ('a', *('b', 'c'))", 0),
        ("Send = Callable[[int], list[str]]", 0),
        ("HERE = Path(__file__).parent / 'static'", 0),
        ("def call():\n    calls = []", 0),
    ],
)
def test_state_is_found(source: str, found: int) -> None:
    """
    This test sees what it is for.
    """
    assert len(list(state_of(ast.parse(source)))) == found


@pytest.mark.parametrize("path", readmes(), ids=name)
def test_readme(path: Path) -> None:
    """
    A README is one screen: a command, and what is seen.
    """
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= ONE_SCREEN
    assert "```console\n$ " in text
    assert re.search(r"^```text$|^!\[", text, re.MULTILINE)
    # What has been recorded is as wide as it was.
    prose = re.sub(r"```text\n.*?```", "", text, flags=re.DOTALL)
    # A link is not shown.
    prose = re.sub(r"\]\([^)]*\)", "]", prose)
    assert [x for x in prose.splitlines() if len(x) > WIDEST] == []
    linked = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    assert [x for x in linked if not (path.parent / x).exists()] == []
