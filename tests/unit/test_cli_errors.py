"""What a command says when something was foreseen to go wrong: a sentence, even out of concurrent work."""

from __future__ import annotations

import json

import pytest
import typer

from sharewell.cli import main
from sharewell.cli.explained import explained
from sharewell.client import ApiError, GraphQLErrors
from sharewell.domain.errors import Unavailable
from sharewell.settings import SettingsError

FAR_AWAY = Unavailable("the database is far away.")
GROUP = ExceptionGroup("", [FAR_AWAY, ExceptionGroup("", [FAR_AWAY, SettingsError("SHAREWELL_PORT: odd")])])


def test_a_command_ends_with_each_sentence_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(prog_name: str) -> None:
        raise GROUP

    monkeypatch.setattr(main, "app", app)
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "sharewell: the database is far away.\nsharewell: SHAREWELL_PORT: odd\n"


def test_a_crash_among_them_stays_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = ExceptionGroup("", [FAR_AWAY, RuntimeError("no idea")])

    def app(prog_name: str) -> None:
        raise crash

    monkeypatch.setattr(main, "app", app)
    with pytest.raises(ExceptionGroup) as ended:
        main.run()
    assert ended.value is crash


def test_a_long_command_says_what_the_platform_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, explained():
        raise ExceptionGroup("", [ApiError("no."), ApiError("no.")])
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "sharewell: no.\n"
    with pytest.raises(ZeroDivisionError), explained():
        raise ZeroDivisionError


def test_a_command_says_by_which_id_the_operator_finds_a_crash(capsys: pytest.CaptureFixture[str]) -> None:
    more = {"code": "INTERNAL", "type": "INTERNAL", "id": "0192"}
    crash = {"message": "Tell the operator this id.", "extensions": more}
    with pytest.raises(typer.Exit), explained("policy"):
        raise GraphQLErrors([crash, {"message": "odd"}], None, 200)
    assert capsys.readouterr().err == (
        "sharewell policy: Tell the operator this id. (INTERNAL, 0192)\nsharewell policy: odd\n"
    )


def test_errors_of_an_operation_are_told_as_json_out_of_concurrent_work(capsys: pytest.CaptureFixture[str]) -> None:
    errors = GraphQLErrors([{"message": "odd"}], {"me": None}, 200)
    with pytest.raises(typer.Exit), explained("client", as_json=True):
        raise ExceptionGroup("", [errors, FAR_AWAY])
    told, _, sentence = capsys.readouterr().err.rpartition("\n}\n")
    assert json.loads(told + "}") == {"errors": [{"message": "odd"}], "data": {"me": None}}
    assert sentence == "sharewell client: the database is far away.\n"
