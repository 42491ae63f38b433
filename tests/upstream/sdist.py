"""
The base's own tests, taken from the source distribution of the installed version.
"""

import email.parser
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

BUILD = Path(__file__).parent / ".build"

#: Seconds which pip may take; it fetches the build backend, too.
DOWNLOAD_LIMIT = 180


class SdistUnavailable(Exception):
    """
    The source distribution could not be fetched.
    """


def unpacked() -> Path:
    """
    Return the directory which holds the base's `tests`, fetched on first use.

    Raises :class:`SdistUnavailable` if pip cannot fetch them.
    """
    version = importlib.metadata.version("aiortc")
    target = BUILD / f"aiortc-{version}"
    if not target.exists():
        _fetch(version, target)
    _check_version(target, version)
    return target


def _check_version(directory: Path, version: str) -> None:
    with (directory / "PKG-INFO").open(encoding="utf-8") as file:
        found = email.parser.Parser().parse(file, headersonly=True)["Version"]
    if found != version:
        raise RuntimeError(
            f"{directory} holds aiortc {found}, but {version} is installed"
        )


def _download(version: str, into: Path) -> Path:
    # pip asks the build backend for the metadata, but builds nothing.
    command = [sys.executable, "-m", "pip", "download", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "2"]
    command += ["--no-deps", "--no-binary", "aiortc"]
    command += ["--dest", str(into), f"aiortc=={version}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT
        )
    except subprocess.TimeoutExpired:
        raise SdistUnavailable(f"pip took over {DOWNLOAD_LIMIT} s") from None
    if done.returncode != 0:
        last_line = done.stderr.strip().rpartition("\n")[2]
        raise SdistUnavailable(f"pip failed: {last_line}")
    [archive] = into.glob("aiortc-*.tar.gz")
    return archive


def _fetch(version: str, target: Path) -> None:
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as temporary:
        archive = _download(version, Path(temporary))
        with tarfile.open(archive) as tar:
            root = os.path.commonpath(tar.getnames())
            for member in _wanted(tar, root):
                _write(tar, member, Path(temporary))
        directory = Path(temporary) / root
        _check_version(directory, version)
        # Without a configuration of its own the run would find ours.
        (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        # In one step, so that an interrupted run leaves no half of it.
        directory.rename(target)


def _wanted(tar: tarfile.TarFile, root: str) -> Iterator[tarfile.TarInfo]:
    # Not the sources: the tests are for the aiortc which is installed.
    for member in tar.getmembers():
        if member.isfile() and (
            member.name == f"{root}/PKG-INFO"
            or member.name.startswith(f"{root}/tests/")
        ):
            yield member


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: Path) -> None:
    # extractall() has a safe filter only since Python 3.11.4.
    path = (directory / member.name).resolve()
    source = tar.extractfile(member)
    if source is None or not path.is_relative_to(directory.resolve()):
        raise RuntimeError(f"Unexpected member {member.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read())
