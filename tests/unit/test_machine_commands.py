"""Commands for the operator of a machine, called where no platform is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharewell.cli.main import run

COMMANDS = (
    ("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", "{folder}/admin.json"),
    ("key", "rotate"),
    ("log", "fsck"),
    ("log", "export", "{folder}/log"),
    ("erasure", "find", "somebody"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_in_the_wrong_folder_says_so_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SHAREWELL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.argv", ["sharewell", *(word.format(folder=tmp_path) for word in command)])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code
    assert capsys.readouterr().err.partition(": ")[2].startswith(f"{tmp_path / 'home'} holds no platform; ")
    assert list(tmp_path.iterdir()) == []
