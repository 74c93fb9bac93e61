"""The small log that authors of other verifiers try theirs on is still what our code makes, and ends as it should."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.audit.conftest import ONE, POLICY, TWO, a_log, a_receipt, entry
from typer.testing import CliRunner

import sharewell.audit
from sharewell.audit.signers import mldsa44_verify
from sharewell.cli.main import app
from sharewell.domain.notes import MLDSA44, open_note, split_note

FOLDER = Path(__file__).with_name("log")
MODULE = Path(sharewell.audit.__file__).with_name("verify.mjs")
LATER = "1772370000"  #: an hour after everything was promised and cosigned

#: What is asked of a verifier, and how it must end.
ASKED = [
    ("", 0),
    ("--remembered remembered", 0),
    ("--remembered rewritten", 3),
    ("bundle.json --policy policy", 0),
    ("proof.tlog-proof --policy policy --entry entry.json", 0),
    ("proof.tlog-proof --policy policy --entry policy", 1),
    (f"kept.receipt --policy policy --log . --at {LATER}", 0),
    (f"broken.receipt --policy policy --log . --at {LATER}", 3),
    ("broken.receipt --policy policy --log . --at 1772366400", 1),
]


@pytest.mark.parametrize(("arguments", "status"), ASKED)
def test_both_verifiers_end_as_others_should(monkeypatch: pytest.MonkeyPatch, arguments: str, status: int) -> None:
    monkeypatch.chdir(FOLDER)
    given = arguments.split() if arguments[:2] not in {"", "--"} else [".", *arguments.split()]
    assert CliRunner().invoke(app, ["verify", *given]).exit_code == status
    if node := shutil.which("node"):
        assert subprocess.run([node, MODULE, *given], check=False, capture_output=True).returncode == status


def test_it_is_byte_for_byte_what_we_make_but_for_the_signature_that_differs_each_time() -> None:
    made = a_log(3, ONE, TWO)
    for path in [path for path in made.files if path.startswith("tile/")]:
        assert (FOLDER / path).read_bytes() == made.files[path]
    assert (FOLDER / "policy").read_bytes() == made.files["policy"]
    note = (FOLDER / "checkpoint").read_bytes()
    (quantum,) = [line for line in split_note(note)[1] if len(line.blob) > 100]
    assert note.replace(quantum.line().encode(), b"") == made.checkpoint
    assert {key.kind for key in open_note(note, POLICY.keys(), mldsa44_verify)[1]} > {MLDSA44}
    assert (FOLDER / "entry.json").read_bytes() == entry(1)
    assert (FOLDER / "kept.receipt").read_bytes() == a_receipt(entry(1))
    assert (FOLDER / "broken.receipt").read_bytes() == a_receipt(entry(3))
