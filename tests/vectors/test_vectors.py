"""Public test vectors of other transparency logs hold for our code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sharewell.audit
from sharewell.cli.main import app
from sharewell.domain import canonical
from sharewell.domain.canonical import NotCanonical

ADAPTER = Path(__file__).with_name("adapter.py")
MODULE = Path(sharewell.audit.__file__).with_name("verify.mjs")


def test_every_suite_passes(shared: Path) -> None:
    runner = shared / "vectors" / "run_vectors.py"
    done = subprocess.run([sys.executable, runner, ADAPTER], check=False, capture_output=True, text=True)
    passed, failed, skipped = (int(part.split()[0]) for part in done.stdout.splitlines()[-1].split(", "))
    assert done.returncode == failed == skipped == 0, done.stdout
    assert passed >= 9_184


TESSERA = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"


@pytest.mark.parametrize("size", [0, 1, 8, 15])
def test_both_verifiers_accept_the_log_that_tessera_wrote_at_every_size(
    shared: Path, tmp_path: Path, size: int
) -> None:
    folder = tmp_path / "log"
    source = shared / "vectors" / "tessera-log" / "testdata" / "log"
    shutil.copytree(source / "tile", folder / "tile")
    shutil.copy(source / f"checkpoint.{size}", folder / "checkpoint")
    (folder / "policy").write_text(f"log {TESSERA}\nquorum none\n")
    remembered = [word for older in range(1, size) for word in ("--remembered", str(source / f"checkpoint.{older}"))]
    done = CliRunner().invoke(app, ["verify", str(folder), *remembered])
    assert done.exit_code == 0, done.output
    if node := shutil.which("node"):
        assert subprocess.run([node, MODULE, folder, *remembered], check=False).returncode == 0


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
