"""The forecast job over a real database: which model is in force, what is on record of it, what stays if one fails."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

import numpy as np
import pytest

from sharewell.audit.keys import LogKey
from sharewell.audit.seal import Sequencer
from sharewell.domain.audit import Decision, parse_entry
from sharewell.domain.canonical import Json
from sharewell.domain.capacity import CapacityDraft
from sharewell.domain.dossier import read_dossier
from sharewell.domain.principals import Caller, Role
from sharewell.domain.trial import UNTRIED, TrialOutcome, verdict
from sharewell.store.audit import DecisionFilter
from sharewell.wiring import operator
from sharewell_workers.allocate import allocate
from sharewell_workers.forecast import MANY_DRIFT, TRY_AFTER, forecast
from sharewell_workers.forecasting import FittedModel
from sharewell_workers.forecasting import model as model_file
from sharewell_workers.forecasting.recipe import Recipe
from sharewell_workers.jobs import Job
from sharewell_workers.made_again import make_again
from sharewell_workers.outlook import panels_of
from sharewell_workers.rerun import collect, rerun
from sharewell_workers.vintages import known_then

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Pool
    from tests.postgres.nouns.conftest import World

    from sharewell.domain.drift import Watch
    from sharewell.domain.institutions import Institution
    from sharewell.domain.trial import ForecastTrial
    from sharewell.services.forecasts import History

BEDS = "bed.adult"
JOB = Job(id=1, name="forecast", payload={"resource": BEDS}, request_id="r-3", attempt=1)
PLACES = 20


QUICK = Recipe(max_rows=4000, min_rows=100)  #: fits in a few tenths of a second


@pytest.fixture(autouse=True)
def quick_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, QUICK)


def use(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    """Train with this recipe from now on."""
    monkeypatch.setattr(Recipe, "for_step", lambda step: {1: recipe}[step])


class Region:
    """Places with one weekly rhythm, who report each morning; the forecaster runs in the evening."""

    def __init__(self, world: World, places: list[Institution]) -> None:
        self.world = world
        self.places = places
        self.random = np.random.default_rng(7)
        self.sizes = self.random.uniform(8, 60, len(places))
        self.day = 0
        self.odd: dict[UUID, int] = {}  #: what some places report instead

    def used(self, place: int) -> int:
        mean = self.sizes[place] * (1 + 0.3 * np.sin(self.day * 2 * np.pi / 7))
        return self.odd.get(self.places[place].id, int(self.random.poisson(mean)))

    async def past(self, days: int) -> None:
        """Report days gone by, all at once."""
        first = self.world.at - timedelta(days=days - 1)
        drafts: dict[int, list[CapacityDraft]] = {n: [] for n in range(len(self.places))}
        for self.day in range(days):
            for number, said in drafts.items():
                as_of = first + timedelta(days=self.day)
                said.append(CapacityDraft(resource=BEDS, as_of=as_of, staffed=900, occupied=self.used(number)))
        for number, said in drafts.items():
            place = self.places[number]
            await self.world.people.capacity.report(self.world.callers[place.id], place.id, said)
        self.day = days

    async def morning(self) -> None:
        """The next day: everybody reports."""
        self.world.at += timedelta(days=1)
        self.day += 1
        for number, place in enumerate(self.places):
            await self.world.report(place, staffed=900, occupied=self.used(number))

    async def evening(self) -> None:
        """The forecaster runs half a day after the reports."""
        self.world.at += timedelta(hours=6)
        await forecast(JOB, self.world.workers)
        self.world.at -= timedelta(hours=6)

    async def days(self, count: int) -> None:
        for _ in range(count):
            await self.morning()
            await self.evening()

    async def trials(self) -> list[ForecastTrial]:
        """Oldest first."""
        async with self.world.workers.database.transaction() as tx:
            page = await tx.trials.page(before=UUID(int=2**128 - 1), resource=BEDS, first=100)
        return list(reversed(page.items))

    async def watches(self) -> dict[UUID, Watch]:
        async with self.world.workers.database.transaction() as tx:
            return await tx.drift.of_resource(BEDS)

    async def models(self) -> list[str]:
        """What each run used, oldest first."""
        async with self.world.workers.database.transaction() as tx:
            page = await tx.forecasts.runs(before=UUID(int=2**128 - 1), resource=BEDS, first=100)
        return [run.model for run in reversed(page.items)]


@pytest.fixture
async def region(world: World) -> Region:
    return Region(world, [await world.institution(f"place-{n}") for n in range(PLACES)])


async def entries(pool: Pool, kind: str) -> list[Mapping[str, Json]]:
    rows = await pool.fetch(
        "select e.body from audit.entry e join audit.decision d using (staged_id) where d.kind = $1 order by 1", kind
    )
    return [parse_entry(bytes(row["body"])).details for row in rows]


async def test_a_first_model_is_tried_against_the_naive_forecasts_and_put_on_record(
    region: Region, migrator_pool: Pool
) -> None:
    await region.past(34)
    await region.evening()
    (trial,) = await region.trials()
    assert (trial.outcome, trial.champion) == (TrialOutcome.ADOPTED, "naive")
    assert float(trial.backtest["relative_wis"]["in-force"]) <= 1
    assert set(trial.backtest["relative_wis"]) == {"in-force", "seasonal-naive", "persistence"}
    (entry,) = await entries(migrator_pool, "model.adopted")
    assert entry["model_sha256"] == trial.model
    assert entry["data_sha256"] == trial.data_sha256
    assert entry["backtest"] == trial.backtest
    assert verdict(entry["backtest"]) == (TrialOutcome.ADOPTED, "")
    assert entry["training"]["seed"] == 0  # type: ignore[index,call-overload]  # likewise
    assert set(entry["code"]) >= {"sharewell", "sha256", "lightgbm", "numpy", "polars", "python", "machine"}  # type: ignore[arg-type]
    body = await region.world.workers.trials.model(trial.model)
    assert hashlib.sha256(body).hexdigest() == FittedModel.from_bytes(body).hash == trial.model


async def test_a_model_is_used_until_a_newer_one_was_tried_and_is_not_worse(
    region: Region, migrator_pool: Pool
) -> None:
    await region.past(34)
    await region.evening()
    await region.days(7)
    first, second = await region.trials()
    assert second.champion == first.model
    assert len(second.backtest["origins"]) == 7
    assert second.origin == first.origin + timedelta(days=7)
    total = {row["method"]: row for row in second.backtest["scores"] if row["horizon"] == 0}
    assert total["model"]["tasks"] == total["in-force"]["tasks"] == PLACES * sum(range(1, 8))
    assert (second.outcome is TrialOutcome.ADOPTED) == (float(total["model"]["wis"]) <= float(total["in-force"]["wis"]))
    sums = await migrator_pool.fetch(
        "select region, count(*), max(quantiles[4]) as most from sharewell.forecast_sum group by region order by region"
    )
    assert [(row["region"], row["count"]) for row in sums] == [("", 8 * 7), ("us-nj", 8 * 7)]
    assert sums[0]["most"] == pytest.approx(sums[1]["most"], rel=0.05), "there is one region, so it is all of them"
    in_force = second.model if second.outcome is TrialOutcome.ADOPTED else first.model
    assert await region.models() == [first.model] * 7 + [in_force]
    assert len(await entries(migrator_pool, "forecast.adopted")) == 8


async def test_a_new_model_is_tried_before_its_time_where_many_series_begin_to_drift(
    region: Region, migrator_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRY_AFTER, 1, 100)
    await region.past(34)
    await region.evening()
    (wild,) = region.places[: round(MANY_DRIFT * PLACES)]
    for day in range(20):
        region.odd = {wild.id: 5 if day % 2 else 700}
        await region.days(1)
        if any(watch.since for watch in (await region.watches()).values()):
            break
    before, last = await region.trials()
    marked = await migrator_pool.fetchval("select max(since) from sharewell.forecast_watch")
    assert before.origin < marked == last.origin, "it is tried on the very day on which they are marked"
    region.odd = {}
    await region.days(2)
    assert len(await region.trials()) == 2, "marks that a trial has learnt from ask for no other"


async def test_a_model_that_did_worse_on_past_days_is_kept_out_and_says_by_how_much(
    region: Region, migrator_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await region.past(34)
    await region.evening()
    poor = replace(QUICK, rounds=1, rate=0.0001, calibration_steps=0)
    use(monkeypatch, poor)
    await region.days(7)
    first, second = await region.trials()
    assert (first.outcome, second.outcome) == (TrialOutcome.ADOPTED, TrialOutcome.REFUSED)
    (entry,) = await entries(migrator_pool, "model.refused")
    assert entry["champion"] == first.model
    assert entry["model_sha256"] == second.model != first.model
    assert "did worse on past days" in str(entry["reason"])
    assert float(entry["backtest"]["relative_wis"]["in-force"]) > 1  # type: ignore[index,call-overload,arg-type]
    assert await region.models() == [first.model] * 8
    await region.days(2)
    assert len(await region.trials()) == 2, "a model that was kept out is not tried again the next day"


async def test_a_training_that_fails_leaves_the_old_model_in_force_and_is_on_record(
    region: Region, migrator_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await region.past(34)
    await region.evening()
    broken = replace(QUICK, leaves=1)  # LightGBM refuses to grow trees of one leaf
    use(monkeypatch, broken)
    await region.days(7)
    first, second = await region.trials()
    assert second.outcome is TrialOutcome.FAILED
    assert second.reason.startswith("training failed with LightGBMError: ")
    assert (second.model, second.champion) == ("", first.model)
    (entry,) = await entries(migrator_pool, "model.failed")
    assert entry["reason"] == second.reason
    assert await region.models() == [first.model] * 8
    use(monkeypatch, QUICK)
    await region.days(1)
    *_, third = await region.trials()
    assert third.outcome is not TrialOutcome.FAILED, "after a failure it is tried again with the next numbers"


async def test_without_a_model_in_force_a_failed_training_leaves_naive_forecasts_that_say_so(
    region: Region, migrator_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(QUICK, leaves=1)
    use(monkeypatch, broken)
    await region.past(34)
    await region.evening()
    told = await migrator_pool.fetch("select distinct fallback from sharewell.forecast")
    assert [row["fallback"].split(": ")[:3] for row in told] == [
        ["no trained model is in force", "training failed with LightGBMError", "Check failed"]
    ]


async def test_a_model_that_this_release_cannot_read_is_replaced_once_another_was_tried(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    await region.past(34)
    await region.evening()
    monkeypatch.setattr(model_file, "FORMAT", "sharewell-forecast-model/next")
    await region.days(1)
    first, second = await region.trials()
    assert second.champion == "naive", "what cannot be read cannot be asked"
    assert second.outcome is TrialOutcome.ADOPTED
    assert await region.models() == [first.model, second.model]


async def test_a_model_that_fails_when_it_is_applied_leaves_naive_forecasts_that_say_so(
    region: Region, migrator_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await region.past(34)
    await region.evening()

    def broken(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(FittedModel, "quantiles", broken)
    await region.days(1)
    assert len(await region.trials()) == 1
    assert (await region.models())[1:] == ["seasonal-naive"]
    told = await migrator_pool.fetch("select distinct fallback from sharewell.forecast where fallback <> ''")
    assert [row["fallback"] for row in told] == ["the model failed with MemoryError"]


async def test_a_history_that_is_too_short_to_try_a_model_on_leaves_it_out(region: Region) -> None:
    await region.past(9)
    await region.evening()
    (trial,) = await region.trials()
    assert (trial.outcome, trial.reason, trial.backtest) == (TrialOutcome.REFUSED, UNTRIED, {})
    assert await region.models() == ["seasonal-naive"]


async def test_the_same_numbers_are_forecast_and_judged_once(region: Region, migrator_pool: Pool) -> None:
    await region.past(34)
    await region.evening()
    await region.days(1)
    before = await region.watches()
    count = await migrator_pool.fetchval("select count(*) from audit.entry")
    await region.evening()
    assert await region.watches() == before
    assert await migrator_pool.fetchval("select count(*) from audit.entry") == count
    assert {watch.judged for watch in before.values()} == {1}


async def test_reports_that_come_in_while_the_history_is_read_have_it_read_again(region: Region) -> None:
    await region.past(34)
    services, seen = region.world.workers, []
    whole = services.forecasts.history

    async def late(resource: str) -> History:
        history = await whole(resource)
        seen.append(history)
        if len(seen) == 1:  # one more report of this very moment, committed after the reading
            await region.world.report(region.places[0], staffed=900, occupied=77)
        return history

    services.forecasts.history = late  # type: ignore[method-assign,assignment]
    await region.evening()
    assert len(seen) == 2
    async with services.database.transaction() as tx:
        (run,) = (await tx.forecasts.runs(before=UUID(int=2**128 - 1), resource=BEDS, first=9)).items
    (panel,) = panels_of((await whole(BEDS, run.known_at)).points)
    assert run.data_sha256 == panel.digest()


async def test_the_history_can_be_read_again_as_it_was_known(region: Region) -> None:
    await region.past(34)
    services = region.world.workers
    then = await services.forecasts.history(BEDS)
    region.world.at += timedelta(hours=1)
    place = region.places[3]
    async with services.database.transaction() as tx:
        newest = await tx.capacity.latest(place.id, BEDS)
    assert newest is not None
    await region.world.report(place, staffed=900, occupied=3, as_of=newest.as_of, corrects=newest.id)
    now = await services.forecasts.history(BEDS)
    assert now.points != then.points
    again = await services.forecasts.history(BEDS, then.known_at)
    assert again.points == then.points


async def sharewell(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Run the command in a process of its own; its exit status and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sharewell.cli", *arguments, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def reruns(pool: Pool, most: int) -> list[Decision]:
    """The newest decisions that say how a re-run came out."""
    rows = await pool.fetch(
        "select e.body from audit.entry e join audit.decision d using (staged_id) where d.kind = 'forecast.rerun' "
        "order by d.id desc limit $1", most,
    )  # fmt: skip
    return [parse_entry(bytes(row["body"])) for row in rows]


async def test_a_trial_and_a_forecast_on_record_are_made_once_more_and_come_out_byte_for_byte(
    region: Region, database_environment: Mapping[str, str], migrator_pool: Pool, tmp_path: Path
) -> None:
    await region.past(34)
    await region.evening()
    await region.days(7)
    # What is reported and corrected later was not known then.
    region.world.at += timedelta(days=1)
    async with region.world.workers.database.transaction() as tx:
        newest = await tx.capacity.latest(region.places[3].id, BEDS)
    assert newest is not None
    await region.world.report(region.places[3], staffed=900, occupied=3, as_of=newest.as_of, corrects=newest.id)
    kinds = await migrator_pool.fetch(
        "select id, kind from audit.decision where kind like 'model.%' or kind = 'forecast.adopted' order by id"
    )
    for decision in (kinds[0], kinds[1], kinds[-1]):
        file = tmp_path / f"{decision['id']}.json"
        status, said = await sharewell(
            database_environment, "forecast", "rerun", str(decision["id"]), "--save", str(file)
        )
        assert (status, said.splitlines()[-1]) == (0, "IDENTICAL: made once more, it is the same."), said
        assert str(decision["kind"]) in said
        (on_record,) = await reruns(migrator_pool, 1)
        assert f"on record: decision {on_record.id}" in said
        assert (on_record.actor, on_record.action, on_record.details["decision"]) == (
            "forecast", "rerunForecast", str(decision["id"])
        )  # fmt: skip
        assert (on_record.details["identical"], on_record.details["differs"]) == (True, [])
        status, said = await sharewell({"PATH": ""}, "forecast", "rerun", str(file), "--json")
        assert status == 0, said
        told = json.loads(said)
        assert (told["decision"], told["identical"]) == (str(decision["id"]), True)
        assert {"same": None, "said": "code: the same"} in told["found"]
        assert "recorded" not in told
    assert len(await reruns(migrator_pool, 9)) == 3, "what is re-run from a file is no act on this log"


async def test_evidence_that_was_tampered_with_is_told_from_what_is_on_record(
    region: Region, database_environment: Mapping[str, str]
) -> None:
    await region.past(34)
    await region.evening()
    (trial,) = await region.trials()
    evidence = await collect(region.world.workers, trial.id)
    assert all(finding.same is not False for finding in rerun(evidence))
    head, first, rest = evidence.rows.split("\n", 2)
    series, group, day, _, *marks = first.split(",")
    other = replace(evidence, rows="\n".join([head, ",".join([series, group, day, "900.0", *marks]), rest]))
    (finding,) = rerun(other)
    assert finding.same is False
    assert finding.said.startswith("data: differs")
    decision = parse_entry(evidence.entry)
    boasting = replace(decision, details={**decision.details, "model_sha256": "ab" * 32, "backtest": {}})
    told = {f.said.split(":")[0]: f for f in rerun(replace(evidence, entry=boasting.entry()))}
    assert told["model"].same is False
    assert told["backtest"].same is False
    assert told["data"].same is True
    status, said = await sharewell(database_environment, "forecast", "rerun", str(UUID(int=5)))
    assert status == 2
    assert "no forecast and no trial of a model has the id" in said


async def test_a_forecast_that_comes_out_another_way_is_told_line_by_line(region: Region) -> None:
    await region.past(34)
    await region.evening()
    async with region.world.workers.database.transaction() as tx:
        (run,) = (await tx.forecasts.runs(before=UUID(int=2**128 - 1), resource=BEDS, first=9)).items
    evidence = await collect(region.world.workers, run.id)
    assert [finding.same for finding in rerun(evidence)] == [True, None, True, True]
    decision = parse_entry(evidence.entry)
    naive = replace(decision, details={**decision.details, "model": "seasonal-naive"})
    told = list(rerun(replace(evidence, entry=naive.entry())))
    assert told[2].same is False
    lines = PLACES * 7
    assert [f.said for f in told if "only" in f.said] == [
        f"only now: {lines} of {lines} lines", f"only on record: {lines} of {lines} lines"
    ]  # fmt: skip


async def test_a_training_that_failed_fails_once_more_in_the_same_way(
    region: Region, database_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, replace(QUICK, leaves=1))
    await region.past(34)
    await region.evening()
    (trial,) = await region.trials()
    status, said = await sharewell(database_environment, "forecast", "rerun", str(trial.id))
    assert status == 0, said
    assert "training: training failed with LightGBMError" in said
    async with region.world.workers.database.transaction() as tx:
        (run,) = (await tx.forecasts.runs(before=UUID(int=2**128 - 1), resource=BEDS, first=9)).items
    status, said = await sharewell(database_environment, "forecast", "rerun", str(run.id))
    assert status == 0, said


async def test_a_trial_sees_of_past_days_what_was_known_then(
    region: Region, database_environment: Mapping[str, str]
) -> None:
    await region.past(34)
    await region.evening()
    await region.days(4)
    world, place, today = region.world, region.places[5], region.world.at.date()
    async with world.workers.database.transaction() as tx:
        newest = await tx.capacity.latest(place.id, BEDS)
    assert newest is not None
    await region.days(2)
    await world.report(place, staffed=900, occupied=700, as_of=newest.as_of, corrects=newest.id)
    history = await world.workers.forecasts.history(BEDS)
    (panel,) = panels_of(history.points)
    then = await known_then(world.workers, history, panel, None)
    assert not then, "these days lie before anything was corrected, in what was loaded as history"
    (trial,) = await region.trials()
    champion = FittedModel.from_bytes(await world.workers.trials.model(trial.model))
    then = await known_then(world.workers, history, panel, champion)
    assert sorted(then) == [today, today + timedelta(days=1)], "later days knew of it, earlier ones not of the day"
    told = {"series": str(place.id), "day": today}
    for rows in then.values():
        (row,) = rows.filter(**told).to_dicts()
        assert row["value"] == newest.occupied
    assert panel.frame.filter(**told)["value"].to_list() == [700.0]
    await region.days(1)
    *_, second = await region.trials()
    assert second.champion == trial.model
    evidence = await collect(world.workers, second.id)
    assert len(evidence.known) == 2
    assert all(finding.same is not False for finding in rerun(evidence))
    blind = {f.said.split(":")[0]: f.same for f in rerun(replace(evidence, known={}))}
    assert (blind["model"], blind["backtest"]) == (True, False), "with the corrected value the backtest is another"


async def test_weekly_series_are_forecast_tried_and_judged_beside_daily_ones(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    weekly = Recipe(max_rows=4000, min_rows=100, lags=(1, 2), windows=(2, 4), carry=4)
    monkeypatch.setattr(Recipe, "for_step", lambda step: {1: QUICK, 7: weekly}[step])
    world, half = region.world, region.places[: PLACES // 2]
    for place in half:
        drafts = [
            CapacityDraft(
                resource=BEDS, as_of=world.at - timedelta(weeks=back), staffed=900, period_days=7,
                occupied=int(region.random.poisson(40)),
            )
            for back in reversed(range(50))
        ]  # fmt: skip
        await world.people.capacity.report(world.callers[place.id], place.id, drafts)
    region.places = region.places[PLACES // 2 :]
    await region.past(34)
    await region.evening()
    await region.days(7)
    for place in half:
        await world.report(place, staffed=900, occupied=41, period_days=7)
    await region.evening()
    steps = [trial.step_days for trial in await region.trials()]
    assert sorted(steps) == [1, 1, 7], "a weekly model is tried every four weeks"
    watches = await region.watches()
    assert {watches[place.id].judged for place in half} == {1}
    assert {watches[place.id].judged for place in region.places} == {7}


async def test_a_plan_leads_back_to_the_forecast_it_rested_on_and_all_of_it_is_made_once_more(
    region: Region, sequencer_pool: Pool
) -> None:
    world, (giver, taker) = region.world, region.places[:2]
    await world.people.policies.publish(operator())
    await region.past(34)
    await region.evening()
    await region.morning()
    world.at += timedelta(minutes=1)
    await world.report(taker, staffed=5, occupied=5, waiting=20)
    await world.pledge(giver, 6)
    await world.ask(taker, 4)
    await allocate(replace(JOB, name="allocate", payload={"region": "us-nj", "resource": BEDS}), world.workers)
    adopted_later = world.at
    await region.evening()
    world.at = adopted_later
    sequencer = Sequencer(sequencer_pool, LogKey.from_seed("log.example/2026", bytes(range(32))))
    while (await sequencer.seal()).entries:
        pass
    regulator = Caller(principal="regulator", roles=frozenset({Role.REGULATOR}), scopes=frozenset({"system/*.cruds"}))
    wanted = DecisionFilter(kind="plan.adopted")
    page = await world.people.audit.page(regulator, before=UUID(int=2**128 - 1), matching=wanted, first=2)
    (plan,) = page.items
    forecasts = [s for s in await world.people.dossiers.sources(regulator, plan.id) if s.kind == "forecast"]
    runs = await region.models()
    assert (len(runs), len(forecasts)) == (2, 1), "the run of the evening after came too late for this plan"
    dossier = read_dossier(await world.people.dossiers.dossier(regulator, plan.id))
    found = list(make_again(dossier))
    assert [finding.said for finding in found if finding.same is False] == []
    assert {"ruling", "recheck", "plan", "data", "forecasts", "sums"} <= {f.said.split(":")[0].strip() for f in found}
    (evidence,) = dossier.forecasts
    other = {**evidence, "rows": str(evidence["rows"]).replace(",900", ",901", 1).replace("0.0\n", "1.0\n", 1)}
    told = [finding.said for finding in make_again(replace(dossier, forecasts=(other,))) if finding.same is False]
    assert len(told) == 1
    assert "data: differs" in told[0]
