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

#: Suites we do not implement yet, or whose inputs our profile refuses on purpose.
WITHOUT = {
    "subtree-inclusion",  # of a draft for certificates; our log proves against whole trees
    "subtree-consistency",
    "subtree-accumulated",
    "mldsa44-wycheproof",  # the post-quantum signature line
    "jcs-rfc8785",  # floating point numbers and other keys than ASCII, see below
}


def test_every_suite_that_we_implement_passes(shared: Path) -> None:
    runner = shared / "vectors" / "run_vectors.py"
    done = subprocess.run([sys.executable, runner, ADAPTER], check=False, capture_output=True, text=True)
    *suites, total = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in suites if " skipped " in line} == WITHOUT
    passed, failed, _ = (int(part.split()[0]) for part in total.split(", "))
    assert failed == 0
    assert passed > 8_000


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
def test_examples_of_rfc_8785_are_written_as_published_or_refused(
    shared: Path, name: str, refused_for: str | None
) -> None:
    folder = shared / "vectors" / "jcs" / "testdata"
    value = json.loads((folder / "input" / f"{name}.json").read_text(encoding="utf-8"))
    if refused_for is None:
        assert canonical.encode(value) == (folder / "output" / f"{name}.json").read_bytes()
    else:
        with pytest.raises(NotCanonical, match=refused_for):
            canonical.encode(value)
