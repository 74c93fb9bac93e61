"""`sharewell log keys` and `rotate`, as an operator uses them: no database is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sharewell.cli.main import app
from sharewell.domain.handover import read_handover
from sharewell.domain.notes import parse_vkey

RUNNER = CliRunner()


def log(home: Path, *arguments: str, origin: str = "log.example/2026") -> list[str]:
    environment = {"SHAREWELL_HOME": str(home), "SHAREWELL_LOG_ORIGIN": origin}
    done = RUNNER.invoke(app, ["log", *arguments], env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.split()


@pytest.mark.parametrize("origin", ["log.example/2026", "log.example/2027"])
def test_keys_are_made_shown_and_replaced(tmp_path: Path, origin: str) -> None:
    old = log(tmp_path, "keys")
    assert log(tmp_path, "keys") == old
    new = log(tmp_path, "rotate", "--origin", origin)
    assert not set(new) & set(old)
    assert log(tmp_path, "keys", origin=origin) == new
    note = (tmp_path / "audit-log.handover").read_bytes()
    assert list(read_handover(note, [parse_vkey(key) for key in old])) == new
    assert {parse_vkey(key).name for key in new} == {origin}
