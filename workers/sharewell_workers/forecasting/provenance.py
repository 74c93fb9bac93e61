"""What did the arithmetic: the code of this package by its bytes, and the libraries under it by their versions.

Where all of it is the same, so are the bytes of a model; where a re-run differs, this says what has changed.
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from importlib.resources import files

LIBRARIES = ("lightgbm", "numpy", "polars", "holidays")


@cache
def code_version() -> dict[str, str]:
    """Version of sharewell, SHA-256 of this package's source, versions of its libraries, Python and the machine."""
    return {
        "sharewell": version("sharewell"), "sha256": source_sha256(), **{name: version(name) for name in LIBRARIES},
        "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip


@cache
def source_sha256() -> str:
    """SHA-256 over the package's source files, each under its name, in order of name."""
    found = {file.name: file for file in files(__package__).iterdir() if file.name.endswith(".py")}
    lines = (f"{hashlib.sha256(found[name].read_bytes()).hexdigest()}  {name}\n" for name in sorted(found))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
