"""Fetch others' programs for the tests that talk to them: `python tests/peers/fetch.py`.

They are unpacked into `tests/peers/unpacked` and run from there as processes of their own. Their wheels ask for a newer
Python than they need, so pip is told that it has one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
UNPACKED = HERE / "unpacked"


def main() -> int:
    """Download what requirements.txt pins, and unpack it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
            "--python-version", "3.12", "--dest", folder, "--requirement", str(HERE / "requirements.txt"),
        ]  # fmt: skip
        done = subprocess.run(command, check=False)
        for wheel in Path(folder).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(UNPACKED)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
