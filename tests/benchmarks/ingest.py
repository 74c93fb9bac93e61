"""How fast published files are read and stored, on generated files as wide and long as the real ones.

Each reader is compared with `polars.read_csv` of the same bytes, which infers types and checks nothing else: the
ratio is what shape, encoding, dialect, bounds, marks and the quality report cost.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from sharewell.authz import Authorizer
from sharewell.exchange import formats
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import build_services, operator, worker_caller

LATEST = date(2026, 1, 1)
ROUNDS = 5
BEDS = ("all_adult_hospital_inpatient_beds", "all_adult_hospital_inpatient_bed_occupied",
        "total_staffed_adult_icu_beds", "staffed_adult_icu_bed_occupancy")  # fmt: skip
SIZES = {"hhs": 4_158, "divi": 30_864, "nj": 4_713}  #: rows of the published files


def measure(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One record for each dialect of each format."""
    files = [
        ("hhs", dialect, hhs_file(SIZES["hhs"], dialect)) for dialect in ("original", "r", "pandas")
    ] + [("divi", "rki", divi_file(SIZES["divi"])), ("nj", "njdoh", nj_file(SIZES["nj"]))]  # fmt: skip
    return [_reading(name, dialect, data, rounds) for name, dialect, data in files]


def _reading(name: str, dialect: str, data: bytes, rounds: int) -> dict[str, Any]:
    feed = formats.read(name, data, latest=LATEST)
    ours, plain = [], []
    for _ in range(rounds):  # in turns, so that what else the machine does falls on both alike
        ours.append(_seconds(lambda: formats.read(name, data, latest=LATEST)))
        plain.append(_seconds(lambda: pl.read_csv(data, infer_schema_length=None, null_values=["NA"])))
    seconds, rows = statistics.median(ours), feed.quality.rows_read
    return {
        "benchmark": "ingest.read",
        "format": name,
        "dialect": dialect,
        "bytes": len(data),
        "rows": rows,
        "reports": feed.reports.height,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds),
        "reports_per_second": round(feed.reports.height / seconds),
        "ratio_to_plain_read_csv": round(seconds / statistics.median(plain), 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


async def measure_stored(urls: Mapping[DatabaseRole, str]) -> list[dict[str, Any]]:
    """Records of reading and storing a file, and of a second one that restates a tenth of it, in a fresh database."""
    settings, authz = Settings(home=Path.cwd()), Authorizer.load()
    async with open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as pool:
        await build_services(settings, Database(pool), authz).resources.define_catalogue(operator())
    async with open_pool(urls[DatabaseRole.WORKER], DatabaseRole.WORKER) as pool:
        feeds = build_services(settings, Database(pool), authz).feeds
        records = []
        for what, share in (("first", 0.0), ("restating a tenth", 0.1)):
            data = divi_file(SIZES["divi"], restated=share)
            begun = time.perf_counter()
            done = (await feeds.ingest(worker_caller("ingest", "benchmark"), "divi", data)).feed
            seconds = time.perf_counter() - begun
            records.append({
                "benchmark": "ingest.store", "file": what, "rows": done.rows, "reports_new": done.reports_new,
                "reports_corrected": done.reports_corrected, "reports_unchanged": done.reports_unchanged,
                "seconds": round(seconds, 3), "rows_per_second": round(done.rows / seconds),
            })  # fmt: skip
    return records


def hhs_file(rows: int, dialect: str, *, seed: int = 7) -> bytes:
    """A week of hospitals with 127 columns, a tenth of the small counts hidden."""
    missing, truths = {"original": ("", "true false"), "r": ("NA", "TRUE FALSE"), "pandas": ("", "True False")}[dialect]
    chance = random.Random(seed)
    others = [f"measure_{n}_7_day_sum" for n in range(107)]
    figures = [f"{stem}_7_day_{kind}" for stem in BEDS for kind in ("avg", "sum", "coverage")]
    header = ["hospital_pk", "collection_week", "state", "hospital_name", "is_metro_micro",
              "geocoded_hospital_address", *figures, "previous_day_admission_adult_covid_confirmed_7_day_sum",
              *others]  # fmt: skip

    def lines() -> Iterator[str]:
        for n in range(rows):
            beds, icu = chance.randrange(10, 400), chance.randrange(0, 40)
            totals = [7 * beds, chance.randrange(7 * beds + 1), 7 * icu, chance.randrange(7 * icu + 1)]
            cells = [f"{n:06}", "2022-09-23", "RI", f"HOSPITAL {n}", truths.split()[n % 2],
                     missing if n % 10 == 0 else f"POINT (-{70 + n % 50}.5 {30 + n % 19}.25)"]  # fmt: skip
            for total in totals:
                hidden = 0 < total < 4
                cells += [
                    "-999999" if total < 28 and total else f"{total / 7:.1f}",
                    "-999999" if hidden else str(total),
                    "7",
                ]
            cells += [str(chance.randrange(20)), *(str(n * m % 90) if m % 5 else missing for m in range(107))]
            yield ",".join(cells)

    return "\n".join([",".join(header), *lines(), ""]).encode()


def divi_file(rows: int, *, restated: float = 0.0, seed: int = 7) -> bytes:
    """Days of the sixteen Länder; `restated` of the rows have another number of free beds."""
    chance, again = random.Random(seed), random.Random(seed + 1)
    header = ("datum,bundesland_id,bundesland_name,behandlungsgruppe,behandlungsgruppe_level_2,anzahl_meldebereiche,"
              "faelle_covid_aktuell,faelle_covid_erstaufnahmen,intensivbetten_belegt,intensivbetten_frei,"
              + ",".join(f"weitere_angabe_{n}" for n in range(12)))  # fmt: skip

    def lines() -> Iterator[str]:
        for n in range(rows):
            day, land = date(2020, 3, 20) + timedelta(n // 16), n % 16 + 1
            used, free = chance.randrange(100, 2000), chance.randrange(20, 400)
            free += again.random() < restated
            more = ",".join(str(n * m % 60) if m % 4 else "NA" for m in range(12))
            key = f"{day},{land:02},Land {land},Erwachsene,ERWACHSENE"
            yield f"{key},{40 + land},{used // 9},{n % 7},{used},{free},{more}"

    return "\n".join([header, *lines(), ""]).encode()


def nj_file(rows: int, *, seed: int = 7) -> bytes:
    """Days of 93 reporting units, a third of the parts blank."""
    chance = random.Random(seed)
    categories = ("criticalcare", "intensivecare", "other", "surgical")
    counts = ["active_confirmed", "active_suspected", "admitted", "admitted_confirmed", "admitted_suspected",
              "alos_ventilator", *(f"bed_{state}_{kind}" for state in ("avail", "inuse") for kind in categories),
              "discharged_alive", "discharged_dead", "ventilators_inuse"]  # fmt: skip

    def lines() -> Iterator[str]:
        for n in range(rows):
            unit, day = n % 93, date(2020, 4, 4) + timedelta(n // 93)
            cells = ("" if chance.random() < 0.3 else str(chance.randrange(60)) for _ in counts)
            yield f"31{unit:05},Unit {unit},{day},{','.join(cells)}"

    return "\n".join([",".join(["hosp_id", "hosp_name", "date", *counts]), *lines(), ""]).encode()


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


if __name__ == "__main__":
    for record in measure():
        print(json.dumps(record))
