"""Public test vectors of other transparency logs hold for our code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sharewell.domain import canonical
from sharewell.domain.canonical import NotCanonical

ADAPTER = Path(__file__).with_name("adapter.py")


def test_every_suite_passes(shared: Path) -> None:
    runner = shared / "vectors" / "run_vectors.py"
    done = subprocess.run([sys.executable, runner, ADAPTER], check=False, capture_output=True, text=True)
    passed, failed, skipped = (int(part.split()[0]) for part in done.stdout.splitlines()[-1].split(", "))
    assert done.returncode == failed == skipped == 0, done.stdout
    assert passed >= 9_184


@pytest.mark.parametrize(
    ("name", "refused_for"),
    [
        ("arrays", None),
        ("french", "a key that is not ASCII"),
        ("structures", "of type float"),
        ("unicode", "normal form C"),
        ("values", "of type float"),
        ("weird", "a key that is not ASCII"),
    ],
)
def test_examples_of_rfc_8785_are_written_as_published_and_refused_as_entries_where_ours_are_narrower(
    shared: Path, name: str, refused_for: str | None
) -> None:
    folder = shared / "vectors" / "jcs" / "testdata"
    value = json.loads((folder / "input" / f"{name}.json").read_text(encoding="utf-8"))
    published = (folder / "output" / f"{name}.json").read_bytes()
    assert canonical.write(value) == published
    if refused_for is None:
        assert canonical.encode(value) == published
    else:
        with pytest.raises(NotCanonical, match=refused_for):
            canonical.encode(value)
