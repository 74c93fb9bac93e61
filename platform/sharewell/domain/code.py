"""Which code decided: named by its release and by its source, so that another build of the same release shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

PACKAGES: Final = ("sharewell", "sharewell_schema", "sharewell_workers", "sharewell_policies")
_SOURCE: Final = (".py", ".sql", ".cedar", ".cedarschema")


@cache
def code_version() -> str:
    """The release and the first 16 hex digits of the SHA-256 over all source files, such as `0.1.0+9f86d081884c7d65`.

    What is hashed is a line for each file: its SHA-256 in hex, two blanks, its path from the package on; sorted.
    """
    lines = sorted(line for package in PACKAGES for line in _lines(files(package), package))
    return f"{version('sharewell')}+{hashlib.sha256(''.join(lines).encode()).hexdigest()[:16]}"


def _lines(folder: Traversable, path: str) -> Iterator[str]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _lines(entry, name)
        elif name.endswith(_SOURCE):
            yield f"{hashlib.sha256(entry.read_bytes()).hexdigest()}  {name}\n"
