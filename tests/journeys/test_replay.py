"""`sharewell replay` as its users run it: small made-up files in the published formats, figures, and their proof."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.journeys.conftest import Sharewell

from sharewell.domain import errors

FIRST = date(2020, 4, 4)
DAYS = 10
#: Beds of each hospital, and those in use day by day. It is taken to staff 47.5 % of all its beds.
HOSPITALS = {
    "North": (100, [30 + 5 * day for day in range(DAYS)]),
    "South": (200, [45 + day for day in range(DAYS)]),
    "East": (160, [40] * DAYS),
    "West": (120, [56] * 5 + [48] * 5),
}
NJ_COLUMNS = (
    "hosp_id", "hosp_name", "date", "active_confirmed", "active_suspected", "admitted", "bed_avail_criticalcare",
    "bed_avail_intensivecare", "bed_avail_other", "bed_avail_surgical", "bed_inuse_criticalcare",
    "bed_inuse_intensivecare", "bed_inuse_other", "bed_inuse_surgical", "ventilators_inuse",
)  # fmt: skip
#: Verifies a bundle with nothing but the domain package, then with one bit of each part turned in many places.
STRANGER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from sharewell.domain.bundle import NotVerified, main, read_key, verify_bundle

assert main(sys.argv[2:]) == 0
data, key = open(sys.argv[2], "rb").read(), read_key(sys.argv[4])
values = json.loads(data)
for part in ("entry", "proof", "checkpoint"):
    text = json.dumps(values[part], ensure_ascii=False).encode()
    start = data.index(text)
    for place in range(start + 1, start + len(text) - 1, max(1, len(text) // 40)):
        changed = bytearray(data)
        changed[place] ^= 1
        try:
            verify_bundle(bytes(changed), key)
        except NotVerified:
            continue
        sys.exit(f"byte {place} of {part} may be changed unnoticed")
"""


def nj_file(folder: Path) -> Path:
    """A census in the published format."""
    lines = [",".join(NJ_COLUMNS)]
    for day in range(DAYS):
        for number, (name, (beds, in_use)) in enumerate(HOSPITALS.items()):
            used = in_use[day]
            cells = (number, name, FIRST + timedelta(days=day), used, 0, 3, 0, 0, 0, beds - used, 0, 0, 0, used, 1)
            lines.append(",".join(map(str, cells)))
    file = folder / "census.csv"
    file.write_text("\n".join([*lines, ""]))
    return file


def lacking(days: int) -> int:
    """Bed-days that hospitals lack in the first `days` where nobody shares."""
    return sum(max(0, used - round(beds * 0.475)) for beds, in_use in HOSPITALS.values() for used in in_use[:days])


def test_new_jersey_day_by_day(sharewell: Sharewell, tmp_path: Path) -> None:
    last = FIRST + timedelta(days=DAYS - 2)
    done = sharewell.run("replay", "nj", nj_file(tmp_path), "--until", str(last), "--json")
    assert done.returncode == 0, done.stderr
    assert sharewell.processes() == []
    figures = json.loads(done.stdout)
    assert (figures["from"], figures["until"], figures["periods"]) == (str(FIRST), str(last), DAYS - 1)
    assert figures["shortage_without_sharing"] == lacking(DAYS - 1)
    assert figures["no_sharing_could_fix"] == 0
    assert figures["shortage_with_sharing"] < figures["shortage_without_sharing"] / 4
    assert figures["donors_worse_off"] == 0
    assert figures["units_moved"] >= figures["shortage_without_sharing"] - figures["shortage_with_sharing"]
    assert 0 < float(figures["smallest_fill_rate"]) <= float(figures["median_fill_rate"]) <= 1
    assert 0 <= float(figures["gini_of_fill_rates"]) < 1
    assert_its_bundle_convinces_a_stranger(sharewell, figures, tmp_path)


def assert_its_bundle_convinces_a_stranger(sharewell: Sharewell, figures: Mapping[str, Any], tmp_path: Path) -> None:
    program, *arguments = shlex.split(figures["verify"])
    assert program == "sharewell"
    assert sharewell.run(*arguments).returncode == 0
    _, bundle, _, key = arguments

    # On a machine with nothing but Python and the domain package: no database, no library, no other code of ours.
    domain = Path(errors.__file__).parent
    shutil.copytree(domain, tmp_path / "alone" / "sharewell" / "domain", ignore=shutil.ignore_patterns("__pycache__"))
    stranger = subprocess.run(
        [sys.executable, "-I", "-S", "-c", STRANGER, tmp_path / "alone", bundle, "--key", key],
        check=False, capture_output=True, text=True, env={}, cwd=tmp_path,
    )  # fmt: skip
    assert stranger.returncode == 0, stranger.stdout + stranger.stderr
    assert "VERIFIED" in stranger.stdout

    whole = Path(bundle).read_bytes()
    entry = whole.index(b'"entry":"') + len(b'"entry":"')
    changed = tmp_path / "changed.json"
    changed.write_bytes(whole[:entry] + bytes([whole[entry] ^ 1]) + whole[entry + 1 :])
    refused = sharewell.run("verify", changed, "--key", key)
    assert refused.returncode == 1
    assert "NOT VERIFIED" in refused.stdout
    assert "Traceback" not in refused.stderr


def hhs_file(folder: Path, name: str, week: str, rows: Sequence[tuple[str, str, int, int]]) -> None:
    """Weekly totals in the published format: hospital, state, beds and those occupied, each for seven days."""
    stems = ("all_adult_hospital_inpatient_beds", "all_adult_hospital_inpatient_bed_occupied")
    figures = [f"{stem}_7_day_{what}" for stem in stems for what in ("sum", "coverage")]
    lines = [",".join(["hospital_pk", "collection_week", "state", "hospital_name", *figures])]
    for pk, state, beds, occupied in rows:
        lines.append(f"{pk},{week},{state},HOSPITAL {pk},{7 * beds},7,{7 * occupied},7")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([*lines, ""]))


def test_two_weeks_of_the_hhs_in_several_files_and_one_state(sharewell: Sharewell, tmp_path: Path) -> None:
    folder = tmp_path / "weeks"
    hhs_file(folder, "1.csv", "2022-03-04", [("990001", "RI", 100, 90), ("990002", "RI", 100, 50)])
    hhs_file(folder, "2.csv", "2022-03-11", [("990001", "RI", 100, 120), ("990002", "RI", 100, 50)])
    # Of the second week there is a second file, with a third hospital and one of another state.
    hhs_file(folder, "3.csv", "2022-03-11", [("990003", "RI", 40, 44), ("990004", "FL", 10, 19)])
    done = sharewell.run("replay", "hhs", folder, "--states", "RI", "--json")
    assert done.returncode == 0, done.stderr
    assert sharewell.processes() == []
    figures = json.loads(done.stdout)
    assert (figures["from"], figures["until"], figures["periods"]) == ("2022-03-04", "2022-03-11", 2)
    assert figures["shortage_without_sharing"] == 7 * (20 + 4)
    assert figures["shortage_with_sharing"] == 0
    assert figures["no_sharing_could_fix"] == 0
    assert figures["donors_worse_off"] == 0


def test_a_malformed_file_is_refused_by_row_and_column(sharewell: Sharewell, tmp_path: Path) -> None:
    file = nj_file(tmp_path)
    header, first, rest = file.read_text().split("\n", 2)
    file.write_text("\n".join([header, first, rest.replace(str(FIRST), "4 April", 1)]))
    assert_refused(sharewell.run("replay", "nj", file), "row 3, column date")
    folder = tmp_path / "weeks"
    hhs_file(folder, "good.csv", "2022-03-04", [("990001", "RI", 100, 90)])
    hhs_file(folder, "odd.csv", "2022-03-04", [("990001", "RI", 100, 90), ("990002", "Rhode Island", 100, 90)])
    assert_refused(sharewell.run("replay", "hhs", folder), "odd.csv: row 3, column state")
    assert_refused(sharewell.run("replay", "nj", tmp_path / "missing.csv"), "missing.csv cannot be read")
    (tmp_path / "weekly_panel.parquet").write_bytes(b"no table")
    assert_refused(sharewell.run("replay", "hhs", tmp_path / "weekly_panel.parquet"), "weekly_panel.parquet")


def assert_refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_the_first_days_of_the_published_census(sharewell: Sharewell, shared: Path) -> None:
    file = shared / "data" / "raw" / "us_nj_hospitals" / "nj_hosp_2020_06_19.csv"
    done = sharewell.run("replay", "nj", file, "--until", "2020-04-06", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["periods"] == 3
    assert figures["shortage_with_sharing"] < figures["shortage_without_sharing"] / 4
    assert figures["donors_worse_off"] == 0
    assert sharewell.run(*shlex.split(figures["verify"])[1:]).returncode == 0
