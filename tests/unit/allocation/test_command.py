"""`sharewell allocate` from the outside: files in, sentences and exit statuses out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sharewell.cli.allocate import app
from sharewell.domain.allocation import Instance
from sharewell.domain.errors import Invalid
from sharewell.domain.urgent import UrgentQuestion, urgent_plan

Build = Callable[..., Instance]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(an_instance: Build, tmp_path: Path) -> tuple[Path, Path]:
    """An instance and its plan on disk: r is left 2 short of 4, s one of 3."""
    instance, plan = tmp_path / "instance.json", tmp_path / "plan.json"
    made = an_instance({"o": 4}, {"r": (4, 2), "s": (3, 5)}, lanes={("o", "r"): 9000, ("o", "s"): 5000})
    instance.write_text(json.dumps(made.to_json()))
    assert run("solve", instance, "-o", plan).exit_code == 0
    return instance, plan


def edit(path: Path, change: Callable[[dict], None]) -> Path:  # type: ignore[type-arg]
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_solve_says_what_could_be_met_and_what_could_not(files: tuple[Path, Path]) -> None:
    said = run("solve", files[0], "-o", files[1]).output
    assert "4 of 7 units needed are assigned; the plan is the best by its rule." in said
    assert "3 could not be met by any sharing" in said


def test_check_confirms_an_untouched_plan(files: tuple[Path, Path]) -> None:
    answer = run("check", *files)
    assert answer.exit_code == 0
    assert answer.output.startswith("VALID, and proven to be the best by its rule.")
    found = json.loads(run("check", *files, "--json").output)
    assert (found["valid"], found["proven_best"], found["problems"]) == (True, True, [])
    assert found["measures"]["units_moved"] == 4


def test_check_refuses_a_plan_that_breaks_a_limit(files: tuple[Path, Path]) -> None:
    edit(files[1], lambda plan: plan["assignments"][0].update(quantity=9))
    answer = run("check", *files)
    assert answer.exit_code == 1
    assert "REFUSED: the plan is not valid for this instance.\n  - offer o gives" in answer.output


def test_check_refuses_a_proof_that_does_not_prove(files: tuple[Path, Path]) -> None:
    edit(files[1], lambda plan: plan["certificate"]["parts"][0]["multipliers"][0]["rows"].reverse())
    answer = run("check", *files)
    assert answer.exit_code == 1
    assert "REFUSED: the plan is valid, but not proven to be the best, as it claims." in answer.output


def test_check_accepts_a_plan_cut_short_for_what_it_is(files: tuple[Path, Path]) -> None:
    assert run("solve", files[0], "-o", files[1], "--seconds", 0).exit_code == 0
    answer = run("check", *files)
    assert answer.exit_code == 0
    assert "VALID, but not proven to be the best: the search was cut short." in answer.output


def test_check_loads_no_solver(files: tuple[Path, Path]) -> None:
    code = (
        "import sys; from sharewell.cli.allocate import app\n"
        f"try: app(['check', {str(files[0])!r}, {str(files[1])!r}])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'mip', 'highspy', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_explain_tells_every_shortage_and_what_would_change_one(files: tuple[Path, Path]) -> None:
    every = run("explain", *files).output
    assert "r  [" in every
    assert "s  [" in every
    one = json.loads(run("explain", *files, "--request", "r", "--json").output)
    (row,) = one["unfilled"]
    assert row["request"] == "r"
    assert {change["change"] for change in row["would_change"]} >= {"owner_spares_more"}


def test_explain_names_an_unknown_request(files: tuple[Path, Path]) -> None:
    answer = run("explain", *files, "--request", "zorglub")
    assert answer.exit_code == 2
    assert "request zorglub is not part of this instance" in answer.output


def test_receipts_speak_to_each_institution(files: tuple[Path, Path]) -> None:
    said = run("receipts", *files).output
    assert "at-o  You gave 4 of 6 and keep 2" in said
    found = json.loads(run("receipts", *files, "--json").output)
    assert not any(row["worse_off"] for row in found["receipts"])


def test_a_refused_plan_is_not_explained(files: tuple[Path, Path]) -> None:
    edit(files[1], lambda plan: plan.update(unfilled=[]))
    answer = run("explain", *files)
    assert isinstance(answer.exception, Invalid)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"no json", "is no instance"),
        (b'{"format": "sharewell/instance@1"}', "is no instance: resource is missing"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "i.json"
    if content is not None:
        path.write_bytes(content)
    answer = run("solve", path, "-o", tmp_path / "p.json")
    assert answer.exit_code == 2
    assert words in " ".join(answer.output.replace("│", " ").split())


def test_an_urgent_plan_is_checked_against_its_question(an_instance: Build, tmp_path: Path) -> None:
    instance = an_instance({"o": 6}, {"now": (4, 5), "later": 8})
    question = UrgentQuestion(instance=instance, request="now", next_run=instance.at)
    asked, planned = tmp_path / "question.json", tmp_path / "plan.json"
    asked.write_text(json.dumps(question.to_json()))
    planned.write_text(json.dumps(urgent_plan(question).to_json()))
    found = run("check", asked, planned)
    assert (found.exit_code, found.stdout.splitlines()[0]) == (0, "VALID, and proven to be the best by its rule.")

    def more(document: dict) -> None:  # type: ignore[type-arg]
        document["assignments"][0]["quantity"] = 3

    bent = run("check", asked, edit(planned, more))
    assert bent.exit_code == 1
    assert "the rule gives 2 units" in bent.stdout
