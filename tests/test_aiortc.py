"""
The door to the base's private names, and who may go through which door.
"""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import aioice
import aiortc
import pytest

import aiortc_restart
from aiortc_restart import _aiortc

PACKAGE = Path(aiortc_restart.__file__).parent
ROOT = PACKAGE.parent

DOOR = sorted((PACKAGE / "_aiortc").glob("*.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = {
    "": 1,
    "rtcpeerconnection": 2,
    "session": 3,
    "recovery": 8,
    "negotiation": 8,
    "ice": 8,
    "stats": 8,
    "_aiortc": 9,
    "rtcconfiguration": 10,
    "_consent": 11,
    "_secrets": 11,
    "_servers": 11,
    "_async": 10,
    "_version": 10,
    "exceptions": 11,
}
"""
The rooms of the package: each imports from rooms with a higher number only, or from
itself. The last ones are what everybody may have.
"""

FORBIDDEN = {
    "negotiation": {"aioice", "asyncio.transports", "socket"},
    "ice": {"aiortc.rtcpeerconnection", "aiortc.rtcsctptransport", "OpenSSL"},
}
"Beside the other rooms: no sockets in negotiation, no negotiation in ice."

STANDARD_LIBRARY_ONLY = {
    "negotiation/signaling.py",
    "negotiation/needed.py",
}


def imports(path: Path, root: Path = ROOT) -> Iterator[str]:
    """
    Return the absolute names of the modules which a file imports at run time.
    """
    package = [*path.relative_to(root).with_suffix("").parts][:-1]
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.unparse(test.test)
        for statement in test.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}"


def mangled_names(source: str) -> list[str]:
    """
    Return the names with two leading underscores, other than those of the language.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [
            getattr(node, field, None)
            for field in ("id", "attr", "arg", "name", "asname")
        ]
        if isinstance(node, ast.Constant):
            names.append(node.value)
        for name in names:
            # A mangled name may also be spelt out, for instance for getattr().
            if isinstance(name, str) and re.fullmatch(
                r"(_[A-Z]\w*)?__\w*?[^_]\w?", name
            ):
                found.append(name)
    return found


def room(module: str) -> str:
    """
    Return the room of a module of the package, "" for what its users see.
    """
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else ""


# The requirements.


def test_check_requirements() -> None:
    """
    The base which is installed is one that the package can stand on.
    """
    _aiortc.check_requirements()
    assert _aiortc.missing_names() == []


@pytest.mark.parametrize(
    ("package", "installed", "needed"),
    [
        ("aiortc", "1.15.0", "aiortc>=1.16,<1.17"),
        ("aiortc", "1.17.0", "aiortc>=1.16,<1.17"),
        ("aiortc", "1.17.0rc1", "aiortc>=1.16,<1.17"),
        ("aiortc", "2.0", "aiortc>=1.16,<1.17"),
        ("aioice", "0.10.2", "aioice>=0.13,<0.14"),
        ("aioice", "0.14.0", "aioice>=0.13,<0.14"),
    ],
)
def test_check_requirements_with_another_version(
    package: str, installed: str, needed: str
) -> None:
    """
    Another version is refused with what is installed, what is needed and what to do.
    """

    def version(name: str) -> str:
        return installed if name == package else importlib.metadata.version(name)

    with pytest.raises(ImportError) as raised:
        _aiortc.check_requirements(version)
    assert str(raised.value) == (
        f"aiortc_restart needs {needed}, but {package} {installed} is installed. "
        f"Run: pip install '{needed}'"
    )


@pytest.mark.parametrize("installed", ["1.16.0", "1.16.7", "1.16.0.post1"])
def test_check_requirements_with_a_later_patch(installed: str) -> None:
    """
    What differs in the patch level only is accepted.
    """

    def version(name: str) -> str:
        return installed if name == "aiortc" else importlib.metadata.version(name)

    _aiortc.check_requirements(version)


def test_check_requirements_with_missing_names() -> None:
    """
    Names which the base lacks are listed, each with its class.
    """
    names: list[tuple[type, list[str]]] = [
        (aioice.Connection, ["connect", "_nominated", "_vanished"]),
        (aiortc.RTCIceTransport, ["_connection", "_RTCIceTransport__gone"]),
    ]
    assert _aiortc.missing_names(names) == [
        "aioice.ice.Connection._vanished",
        "aiortc.rtcicetransport.RTCIceTransport._RTCIceTransport__gone",
    ]
    with pytest.raises(ImportError) as raised:
        _aiortc.check_requirements(names=names[1:])
    assert str(raised.value) == (
        "aiortc_restart needs aiortc>=1.16,<1.17, but aiortc "
        f"{importlib.metadata.version('aiortc')} is installed, which lacks "
        "aiortc.rtcicetransport.RTCIceTransport._RTCIceTransport__gone. "
        "Run: pip install 'aiortc>=1.16,<1.17'"
    )


def test_private_names_are_those_which_are_used() -> None:
    """
    Each private name of the base which the door uses is among those it checks for.
    """
    checked = {name for _, names in _aiortc.PRIVATE_NAMES for name in names}
    used = set()
    for path in DOOR:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                for inner in ast.walk(node):
                    name = getattr(inner, "attr", getattr(inner, "name", None))
                    if isinstance(name, str) and re.match("__[a-zA-Z]", name):
                        if not name.endswith("__"):
                            used.add(f"_{node.name.lstrip('_')}{name}")
    assert used
    assert used <= checked


# The rules of the house.


@pytest.mark.parametrize("path", MODULES, ids=lambda x: str(x.relative_to(PACKAGE)))
def test_no_mangled_names(path: Path) -> None:
    """
    Outside the door no name begins with two underscores, but for those of Python.
    """
    assert not mangled_names(path.read_text()) or path in DOOR


def test_mangled_names_are_found() -> None:
    """
    The rule sees names wherever they may stand.
    """
    source = """
import a.__b as __c
class A:
    __d: int
    def __e(self, __f): return self.__g(__h=1)
    def __init__(self): return getattr(self, "_RTCPeerConnection__i")
__all__ = [__name__, "__version__"]
"""
    assert sorted(mangled_names(source)) == sorted(
        ["__c", "__d", "__e", "__f", "__g", "__h", "_RTCPeerConnection__i"]
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda x: str(x.relative_to(PACKAGE)))
def test_imports(path: Path) -> None:
    """
    Each room imports only what stands to its right.
    """
    relative = str(path.relative_to(PACKAGE))
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in imports(path):
        if name.split(".")[0] == PACKAGE.name:
            other = room(name)
            assert other == own or ROOMS[other] > ROOMS[own], f"{relative}: {name}"
        for forbidden in FORBIDDEN.get(own, set()):
            assert not f"{name}.".startswith(f"{forbidden}."), f"{relative}: {name}"
        if relative in STANDARD_LIBRARY_ONLY:
            assert name.split(".")[0] in sys.stdlib_module_names, f"{relative}: {name}"


def test_every_room_is_known() -> None:
    """
    A new file or folder needs a place in the order.
    """
    found = {path.stem for path in PACKAGE.glob("*.py")}
    found |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert found - {"__init__"} <= set(ROOMS)


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "examples").rglob("*.py")),
    ids=lambda x: str(x.relative_to(ROOT)),
)
def test_imports_of_examples(path: Path) -> None:
    """
    An example uses what a user has: the public names.
    """
    public = {
        f"{PACKAGE.name}.{name}" for name in (*aiortc_restart.__all__, "recovery")
    }
    for name in imports(path):
        if name.split(".")[0] == PACKAGE.name:
            assert name == PACKAGE.name or name in public, name
        assert name.split(".")[0] != "aiortc" or "." in name, name


def class_names(path: Path) -> set[str]:
    """
    Return the names of the classes in a file.
    """
    nodes = ast.walk(ast.parse(path.read_text()))
    return {x.name for x in nodes if isinstance(x, ast.ClassDef)}


# The parts of an ICE transport and of an agent are yet to be taken apart.
@pytest.mark.parametrize(
    "path",
    [x for x in MODULES if x not in DOOR and x.parent.name != "ice"],
    ids=lambda x: str(x.relative_to(PACKAGE)),
)
def test_no_storeys(path: Path) -> None:
    """
    No class derives from one of ours, but for those of the door.
    """
    ours = set[str]().union(*(class_names(x) for x in MODULES if x not in DOOR))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            bases = {x.id for x in node.bases if isinstance(x, ast.Name)}
            assert not bases & ours, node.name


def test_commit_neither_waits_nor_fails() -> None:
    """
    What puts a plan into force, or rolls it back, has no `await` and no `raise`.
    """
    methods = {
        node.name: node
        for name in ("session", "proposals")
        for node in ast.walk(
            ast.parse((PACKAGE / "session" / f"{name}.py").read_text())
        )
        if isinstance(node, ast.FunctionDef)
    }
    reached, waiting = set(), ["commit", "roll_back"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        for node in ast.walk(methods[name]):
            assert not isinstance(
                node, (ast.Assert, ast.Await, ast.Raise, ast.Yield)
            ), name
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in methods:
                waiting += {called.attr} - reached
    assert {"_exchange", "propose_remote", "_finish", "withdraw"} <= reached
