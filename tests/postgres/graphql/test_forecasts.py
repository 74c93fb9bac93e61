"""What a forecast shows beside its numbers: how its model did on past days, why none spoke, and whether it holds."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from sharewell.domain.drift import Watch, WatchState
from sharewell.domain.forecast import Forecast, ForecastSum
from sharewell.services.trials import Attempt
from sharewell.wiring import worker_caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.postgres.graphql.conftest import Api

    from sharewell.domain.trial import ForecastTrial

BEDS, VENTILATORS = "bed.adult", "ventilator"
FORECASTER = worker_caller("forecast", "r-3")
BODY = b"a model, as far as the database is concerned"
MODEL = hashlib.sha256(BODY).hexdigest()
SHOWN = """model fallback
  trial { outcome origin origins scores { horizon tasks wis logWis relativeWis relativeLogWis relativeToPersistence
                                          relativeToInForce coverage50 coverage80 coverage95 } }
  drift { state since judged missed evidence level lastTarget }"""


def row(method: str, horizon: int, wis: str) -> dict[str, Any]:
    return {
        "method": method, "horizon": horizon, "tasks": 40, "wis": wis, "log_wis": f"{float(wis) / 10:.4f}",
        "coverage": {"500": "0.5100", "800": "0.7900", "950": "0.9400"},
    }  # fmt: skip


def scores(ours: str, theirs: str) -> dict[str, Any]:
    values = {"model": ours, "in-force": theirs, "seasonal-naive": "4.0000", "persistence": "0.0000"}
    return {
        "origins": ["2026-02-20", "2026-02-21"],
        "scores": [row(name, horizon, wis) for horizon in (0, 1) for name, wis in values.items()],
    }  # fmt: skip


async def tried(api: Api, body: bytes, backtest: dict[str, Any]) -> ForecastTrial:
    attempt = Attempt(
        step_days=1, origin=date(2026, 2, 28), champion="naive", data_sha256="ab" * 32, code={"sharewell": "0.1.0"},
        training={"seed": 0}, body=body, backtest=backtest,
    )  # fmt: skip
    history = await api.workers.forecasts.history(BEDS)
    return (await api.workers.trials.conclude(FORECASTER, history, attempt)).subject


async def forecast(
    api: Api, institutions: list[UUID], *, resource: str = BEDS, model: str = MODEL, sums: Sequence[ForecastSum] = ()
) -> UUID:
    """Seven days for each; returns the decision."""
    today = api.at.date()
    why = None if len(model) == 64 else "history is too short: 3 of 5 values"
    forecasts = [
        Forecast(
            institution=who, resource=resource, signal="need", origin=today - timedelta(1),
            target=today + timedelta(ahead), horizon=ahead + 1, quantiles=((100, 900), (500, 1500), (900, 2250)),
            model=model, fallback=why,
        )
        for who in institutions for ahead in range(7)
    ]  # fmt: skip
    done = await api.workers.forecasts.adopt(
        FORECASTER, await api.workers.forecasts.history(resource), step_days=1, origin=today - timedelta(1),
        model=model, trial=None, data_sha256="ab" * 32, code_sha256="cd" * 32, forecasts=forecasts, sums=sums,
    )  # fmt: skip
    return done.decision


async def drifts(api: Api, who: UUID, decision: UUID, *, resource: str = BEDS) -> None:
    watch = Watch(
        institution=who, resource=resource, state=WatchState.DRIFTING, since=date(2026, 2, 27),
        last_target=date(2026, 2, 28), known_at=api.at, capital=(0.5, 0.25, 0.25, 0.25), level=0.1, judged=30,
        missed=11,
    )  # fmt: skip
    async with api.workers.database.transaction() as tx:
        await tx.drift.save([(watch, decision)])


@pytest.fixture
async def clinic(api: Api) -> UUID:
    who = UUID(await api.institution("clinic"))
    await tried(api, BODY, scores("2.0000", "2.5000"))
    await drifts(api, who, await forecast(api, [who]))
    return who


async def test_a_forecast_shows_how_its_model_did_and_whether_it_holds(api: Api, clinic: UUID) -> None:
    found = await api.ask("clinic", f"{{ forecasts(first: 1) {{ nodes {{ {SHOWN} }} }} }}")
    (node,) = found["forecasts"]["nodes"]
    score = {
        "horizon": 0, "tasks": 40, "wis": 2.0, "logWis": 0.2, "relativeWis": 0.5, "relativeLogWis": 0.5,
        "relativeToPersistence": None, "relativeToInForce": 0.8, "coverage50": 0.51, "coverage80": 0.79,
        "coverage95": 0.94,
    }  # fmt: skip
    assert node == {
        "model": MODEL, "fallback": None,
        "trial": {
            "outcome": "ADOPTED", "origin": "2026-02-28", "origins": ["2026-02-20", "2026-02-21"],
            "scores": [score, score | {"horizon": 1}],
        },
        "drift": {
            "state": "DRIFTING", "since": "2026-02-27", "judged": 30, "missed": 11, "evidence": 1.25, "level": 0.1,
            "lastTarget": "2026-02-28",
        },
    }  # fmt: skip


async def test_a_naive_forecast_shows_why_no_model_spoke_and_no_score(api: Api, clinic: UUID) -> None:
    await forecast(api, [clinic], resource=VENTILATORS, model="persistence")
    found = await api.ask("clinic", f'{{ forecasts(resource: "{VENTILATORS}", first: 1) {{ nodes {{ {SHOWN} }} }} }}')
    (node,) = found["forecasts"]["nodes"]
    assert node == {
        "model": "persistence", "fallback": "history is too short: 3 of 5 values", "trial": None, "drift": None
    }  # fmt: skip


async def test_a_page_of_forecasts_finds_all_of_it_in_a_statement_each(
    api: Api, clinic: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    fetch = asyncpg.Connection.fetch

    async def spy(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(query)
        return await fetch(self, query, *args, **kwargs)

    monkeypatch.setattr(asyncpg.Connection, "fetch", spy)
    found = await api.ask("clinic", f"{{ forecasts {{ nodes {{ {SHOWN} institution {{ code }} }} }} }}")
    assert len(found["forecasts"]["nodes"]) == 7
    assert len(sent) == 4  # forecasts, trials, watches, institutions


async def test_regions_and_all_of_them_are_shown_to_planners_and_regulators(api: Api, clinic: UUID) -> None:
    today = api.at.date()
    sums = [
        ForecastSum(
            region=region, resource=BEDS, origin=today - timedelta(1), target=today + timedelta(ahead),
            horizon=ahead + 1, quantiles=((100, 90_000 * many), (500, 100_000 * many), (900, 112_500 * many)),
        )
        for region, many in (("us-nj", 1), ("us-ny", 2), (None, 3)) for ahead in range(2)
    ]  # fmt: skip
    await forecast(api, [clinic], sums=sums)
    query = """query ($region: String, $after: String) {
      regionForecasts(resource: "bed.adult", region: $region, first: 4, after: $after) {
        nodes { region target quantiles { value } } pageInfo { hasNextPage endCursor } } }"""
    first = (await api.ask("planner", query))["regionForecasts"]
    second = (await api.ask("regulator", query, after=first["pageInfo"]["endCursor"]))["regionForecasts"]
    nodes = [*first["nodes"], *second["nodes"]]
    days = [str(today), str(today + timedelta(1))]
    assert [(node["region"], node["target"]) for node in nodes] == [
        (region, day) for region in (None, "us-nj", "us-ny") for day in days
    ]
    assert nodes[0]["quantiles"] == [{"value": 270.0}, {"value": 300.0}, {"value": 337.5}]
    for region, count in (("all", 2), ("us-ny", 2), ("us-tx", 0)):
        assert len((await api.ask("planner", query, region=region))["regionForecasts"]["nodes"]) == count
    for who in ("clinic", "admin"):
        assert (await api.send(who, query)).refusal[0] == "FORBIDDEN"


async def test_trials_are_listed_with_what_became_of_them(api: Api, clinic: UUID) -> None:
    await tried(api, b"a poorer one", scores("2.0000", "1.0000"))
    query = """{ forecastTrials { nodes { outcome reason model champion stepDays dataSha256 code training knownAt } }
                 forecastRuns { nodes { model trial { outcome } codeSha256 } } }"""
    for who in ("planner", "regulator"):
        found = await api.ask(who, query)
        refused, adopted = found["forecastTrials"]["nodes"]
        assert (refused["outcome"], adopted["outcome"]) == ("REFUSED", "ADOPTED")
        assert "2.0000 against 1.0000" in refused["reason"]
        assert adopted["code"] == {"sharewell": "0.1.0"}
        assert found["forecastRuns"]["nodes"] == [
            {"model": MODEL, "trial": {"outcome": "ADOPTED"}, "codeSha256": "cd" * 32}
        ]
    for who in ("clinic", "admin", "nobody"):
        assert (await api.send(who, "{ forecastTrials { nodes { id } } }")).refusal[0] == "FORBIDDEN"


async def test_what_drifts_is_listed_by_resource_and_institution_page_by_page(api: Api, clinic: UUID) -> None:
    other = UUID(await api.institution("other"))
    decision = await forecast(api, [clinic, other])
    await drifts(api, other, decision)
    await drifts(api, clinic, decision, resource=VENTILATORS)
    query = """query ($of: UUID, $resource: String, $after: String) {
      driftingForecasts(institution: $of, resource: $resource, first: 2, after: $after) {
        nodes { institution { code } resource state } pageInfo { hasNextPage endCursor } } }"""
    first = (await api.ask("planner", query))["driftingForecasts"]
    second = (await api.ask("planner", query, after=first["pageInfo"]["endCursor"]))["driftingForecasts"]
    found = [(node["resource"], node["institution"]["code"]) for node in (*first["nodes"], *second["nodes"])]
    assert found == [(BEDS, "clinic"), (BEDS, "other"), (VENTILATORS, "clinic")]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    narrowed = await api.ask("regulator", query, of=str(other), resource=BEDS)
    assert [node["institution"]["code"] for node in narrowed["driftingForecasts"]["nodes"]] == ["other"]


async def test_an_institution_sees_what_drifts_of_its_own_and_of_nobody_else(api: Api, clinic: UUID) -> None:
    await api.institution("other")
    query = "query ($of: UUID) { driftingForecasts(institution: $of) { nodes { institutionId } } }"
    found = await api.ask("clinic", query)
    assert found["driftingForecasts"]["nodes"] == [{"institutionId": str(clinic)}]
    assert (await api.ask("other", query))["driftingForecasts"]["nodes"] == []
    assert (await api.send("other", query, {"of": str(clinic)})).refusal[0] == "FORBIDDEN"
    assert (await api.send("admin", query)).refusal[0] == "FORBIDDEN"


@pytest.mark.parametrize("after", ["", "AAAA", "YmVkLmFkdWx0", "YmVkLmFkdWx0IG5vYm9keQ"])
async def test_a_cursor_that_is_none_is_refused(api: Api, clinic: UUID, after: str) -> None:
    query = "query ($after: String) { driftingForecasts(after: $after) { nodes { resource } } }"
    assert (await api.send("clinic", query, {"after": after})).refusal == ("INVALID", "Invalid", "after")


async def test_a_partner_sees_forecasts_by_an_agreement_about_them_and_no_stranger_does(
    api: Api, clinic: UUID
) -> None:
    for name in ("partner", "stranger"):
        await api.institution(name)
    query = "query ($of: UUID, $r: String) { forecasts(institution: $of, resource: $r) { nodes { target } } }"

    async def agreed(detail: str, resource: str | None) -> str:
        made = await api.done(
            "clinic", "proposeAgreement", "agreement { id }", detail=detail, resource=resource,
            receiver=str(api.callers["partner"].institution), until=(api.at + timedelta(days=3)).isoformat(),
        )  # fmt: skip
        await api.done("partner", "acceptAgreement", agreement=made["agreement"]["id"])
        return str(made["agreement"]["id"])

    async def sees(who: str, resource: str | None) -> bool:
        answer = await api.send(who, query, {"of": str(clinic), "r": resource})
        if "errors" in answer.body:
            assert answer.error["extensions"]["code"] == "FORBIDDEN"
            return False
        return bool(answer.data["forecasts"]["nodes"])

    await agreed("COUNTS", None)
    assert not await sees("partner", BEDS)
    agreement = await agreed("FORECASTS", BEDS)
    assert await sees("partner", BEDS)
    assert not await sees("partner", None)  # an agreement about one resource is none about all
    assert not await sees("stranger", BEDS)
    await api.done("clinic", "endAgreement", agreement=agreement)
    assert not await sees("partner", BEDS)
    await agreed("FORECASTS", None)
    assert await sees("partner", None)
    api.at += timedelta(days=3)
    assert not await sees("partner", None)
