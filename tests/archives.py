"""
Check what is in the archives which `make dist` has built: what has to be, and nothing
that was only made beside it.
"""

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

UNWANTED = {".build", ".git", ".venv", "__pycache__", "build", "node_modules", "out"}
WHEEL = {"LICENSE", "METADATA", "py.typed"}
SDIST = {"CHANGELOG.md", "LICENSE", "Makefile", "README.md", "py.typed", "smoke.py"}


def members(archive: Path) -> list[PurePosixPath]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return [PurePosixPath(x) for x in wheel.namelist()]
    with tarfile.open(archive) as sdist:
        return [PurePosixPath(x) for x in sdist.getnames()]


def check(archive: Path) -> None:
    """
    Check one archive.

    :raises ValueError: if it has too little or too much.
    """
    paths = members(archive)
    required = WHEEL if archive.suffix == ".whl" else SDIST
    missing = required - {x.name for x in paths}
    surplus = [str(x) for x in paths if UNWANTED & set(x.parts)]
    if archive.suffix == ".whl":
        surplus += [str(x) for x in paths if not x.parts[0].startswith("aiortc_")]
    if missing or surplus:
        raise ValueError(f"{archive}: missing {missing}, too much {surplus}")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        check(Path(argument))
