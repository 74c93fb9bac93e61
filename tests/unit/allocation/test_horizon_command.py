"""`sharewell allocate` with a horizon, and the published cases: files in, sentences and exit statuses out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from sharewell.cli.allocate import app
from sharewell.domain.horizon import Horizon
from sharewell.domain.horizon_rows import Gate
from sharewell_workers.solving import solve_horizon
from sharewell_workers.solving.published import new_jersey, stay

Build = Callable[..., Horizon]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(a_horizon: Build, tmp_path: Path) -> tuple[Path, Path]:
    horizon, schedule = tmp_path / "horizon.json", tmp_path / "schedule.json"
    horizon.write_text(json.dumps(a_horizon().to_json()))
    assert run("solve", horizon, "-o", schedule).exit_code == 0
    return horizon, schedule


def test_solve_says_what_changes_and_what_could(files: tuple[Path, Path]) -> None:
    said = run("solve", *files[:1], "-o", files[1]).output
    assert "ventilator: 2 unit-days short, alone 10; 3 moved, 0 sites worse off." in said
    assert "proven to be the best, aim by aim" in said


def test_check_confirms_a_schedule_and_refuses_a_changed_one(files: tuple[Path, Path]) -> None:
    answer = run("check", *files)
    assert answer.exit_code == 0
    assert answer.output.startswith("VALID, and proven to be the best, aim by aim.")
    found = json.loads(run("check", *files, "--json").output)
    assert (found["valid"], found["bounds_proven"], found["claims_best"]) == (True, True, True)
    document = json.loads(files[1].read_bytes())
    document["shipments"][0]["units"] += 5
    files[1].write_text(json.dumps(document))
    answer = run("check", *files)
    assert answer.exit_code == 1
    assert answer.output.startswith("REFUSED: the schedule is not valid for this horizon.")


def test_check_says_when_a_bound_is_only_a_bound(files: tuple[Path, Path]) -> None:
    run("solve", files[0], "-o", files[1], "--seconds", 0)
    answer = run("check", *files)
    assert answer.exit_code == 0
    assert answer.output.startswith("VALID; another schedule could avoid at most 100.00 % of the shortage that is left")
    document = json.loads(files[1].read_bytes())
    document["search"]["status"] = "optimal"
    files[1].write_text(json.dumps(document))
    assert run("check", *files).exit_code == 1


def test_explain_gives_a_cause_for_every_need_left_open(files: tuple[Path, Path]) -> None:
    said = run("explain", *files).output
    assert "bobeline  ventilator  [elsewhere]  2 unit-days short." in said
    rows = json.loads(run("explain", *files, "--json").output)["unmet"]
    assert {row["item"] for row in rows} == {"ventilator", "mask"}
    assert run("explain", *files, "--request", "r").exit_code == 2


def test_kits_fittings_and_lanes_with_a_charge_are_solved_checked_and_explained(
    a_horizon: Build, tmp_path: Path
) -> None:
    """A ventilator in use takes a mask a day, a bedside is a ventilator and a mask more; each lane costs 7 a day."""
    document = json.loads(json.dumps(a_horizon().to_json()))
    ventilator = next(row for row in document["items"] if row["item"] == "ventilator")
    document["items"].append({**ventilator, "item": "bedside", "hold_days": 0})
    document["kits"] = [
        {"item": "bedside", "part": "ventilator", "units": 1}, {"item": "bedside", "part": "mask", "units": 1}
    ]  # fmt: skip
    document["fittings"] = [{"item": "ventilator", "part": "mask", "units": 1}]
    standing = next(row for row in document["standings"] if row["site"] == "bobeline" and row["item"] == "ventilator")
    document["standings"].append({**standing, "item": "bedside", "need": [0, 1, 1, 1], "urgency": 5})
    document["lanes"] = [{**row, "charge": 7, "least": 2} for row in document["lanes"]]
    document["aims"] = ["shortage", "charges"]
    horizon, schedule = tmp_path / "horizon.json", tmp_path / "schedule.json"
    horizon.write_text(json.dumps(document))
    answer = run("solve", horizon, "-o", schedule)
    assert answer.exit_code == 0, answer.output
    assert "bedside:" in answer.output
    found = json.loads(run("check", horizon, schedule, "--json").output)
    assert (found["valid"], found["bounds_proven"]) == (True, True)
    shipped = json.loads(schedule.read_bytes())["shipments"]
    trips = {(row["item"], row["day"]) for row in shipped}
    charges = next(row for row in found["stages"] if row["aim"] == "charges")
    assert charges["value"] == 7 * len(trips) > 0
    assert "bobeline  ventilator" in run("explain", horizon, schedule).output
    document["kits"].append({"item": "bedside", "part": "bedside", "units": 1})
    horizon.write_text(json.dumps(document))
    refused = run("solve", horizon, "-o", schedule)
    assert refused.exit_code == 2
    assert "kits[bedside,bedside].part" in refused.output.replace("\n", "")


def test_a_document_that_is_wrong_is_refused_with_its_path(files: tuple[Path, Path]) -> None:
    document = json.loads(files[0].read_bytes())
    document["lots"][0]["units"] = -1
    files[0].write_text(json.dumps(document))
    answer = run("solve", files[0], "-o", files[1])
    assert answer.exit_code == 2
    assert "lots[0].units" in answer.output


def test_checking_a_schedule_loads_no_solver(files: tuple[Path, Path]) -> None:
    code = (
        "import sys; from sharewell.cli.allocate import app\n"
        f"try: app(['check', {str(files[0])!r}, {str(files[1])!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'mip', 'highspy', 'numpy', 'scipy', 'polars'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def data(shared: Path, folder: str) -> Path:
    if not (shared / "data" / folder).is_dir():
        pytest.skip(f"there is no {folder} in {shared / 'data'}")
    return shared / "data"


def test_ventilators_of_fifty_states_with_every_rule_on(shared: Path) -> None:
    """Published plan, replayed: 5,950 with a pledge of 20 %. Ours keeps the hold, and is proven to the unit."""
    answer = run("replay", "ventilators", data(shared, "bench_ventilators"), "--json")
    assert answer.exit_code == 0, answer.output
    row = json.loads(answer.output)["rows"][-1]
    assert (row["alone"], row["shared"], row["short_at_least"], row["worse_off"]) == (28_562, 5_813, 5_813, 0)
    assert row["status"] == "optimal"


def test_the_curve_of_stay_is_the_one_behind_the_published_census(shared: Path) -> None:
    """Census of a day = what is left of those there at first and of all admitted since."""
    folder = data(shared, "bench_nj_transfers") / "bench_nj_transfers"
    first = dict(pl.read_parquet(folder / "hospitals.parquet").select("hosp_name", "initial_patients_est").rows())
    shares = [share / 1000 for share in stay(51)]
    census = pl.read_parquet(folder / "instance.parquet").sort("hosp_name", "date")
    for (name,), rows in census.group_by("hosp_name"):
        admitted = rows["admissions_est"].to_list()
        for day, people in enumerate(rows["active_fitted"]):
            there = first[str(name)] * shares[day + 1]
            there += sum(shares[day - since] * admitted[since] for since in range(day + 1))
            assert people == pytest.approx(there, abs=0.4)


def test_new_jersey_is_what_the_published_baseline_says(shared: Path) -> None:
    horizon = new_jersey(data(shared, "bench_nj_transfers"))
    over = sum(
        max(0, occupied - 1000 * beds)
        for ward in horizon.wards
        for occupied, beds in zip(ward.occupied, ward.beds, strict=True)
    )
    assert over / 1000 == pytest.approx(33_432, rel=0.002)
    assert len(horizon.lanes) == 75 * 74
    assert 2000 < len(new_jersey(data(shared, "bench_nj_transfers"), lane_metres=60_000).lanes) < 3000


@pytest.mark.parametrize(
    ("gives", "takes", "change"),
    [((3, 0, 0, 0), (9, 9, 9, 9), "windows_stay_open"), ((9, 9, 9, 9), (0, 1, 0, 0), "more_is_asked")],
)
def test_explain_of_a_site_tells_what_would_leave_it_less_short(
    a_horizon: Build, tmp_path: Path, gives: tuple[int, ...], takes: tuple[int, ...], change: str
) -> None:
    horizon, schedule = tmp_path / "horizon.json", tmp_path / "schedule.json"
    gates = (Gate(site="champignac", item="mask", gives=gives, takes=(0, 0, 0, 0)),
             Gate(site="bobeline", item="mask", gives=(0, 0, 0, 0), takes=takes))  # fmt: skip
    made = a_horizon(gates=gates)
    horizon.write_text(json.dumps(made.to_json()))
    run("solve", horizon, "-o", schedule)
    told = json.loads(run("explain", horizon, schedule, "--site", "bobeline", "--json").output)
    before = {row["item"]: row["units"] for row in told["unmet"]}
    changes = {row["change"]: row for row in told["would_relieve"] if row["item"] == "mask"}
    assert changes[change]["short"] < before["mask"]
    opened = replace(made, gates=tuple(replace(gate, gives=(9,) * 4, takes=(9,) * 4) for gate in gates))
    assert changes[change]["short"] == sum(row.units for row in solve_horizon(opened).unmet if row.item == "mask")
    assert changes[change]["sentence"] in run("explain", horizon, schedule, "--site", "bobeline").output


def test_explain_of_a_site_tells_the_fewest_units_more_that_help(files: tuple[Path, Path]) -> None:
    told = json.loads(run("explain", *files, "--site", "bobeline", "--json").output)["would_relieve"]
    (masks,) = [row for row in told if (row["change"], row["item"]) == ("owner_has_more", "mask")]
    assert masks["units"] == 2  # the owner pledges half of what it has
    assert "If the owner 1 km away had 2 more to give" in masks["sentence"]


def test_explain_refuses_a_site_that_is_not_there(files: tuple[Path, Path]) -> None:
    assert "site palombia is not part of this horizon" in run("explain", *files, "--site", "palombia").output
    assert "a horizon has no requests" in run("explain", *files, "--request", "r").output
