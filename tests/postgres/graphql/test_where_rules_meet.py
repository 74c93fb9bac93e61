"""Urgent plans, fairness choices, overrides and counted steps change the same units: none forgets what another did."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sharewell_workers.jobs import Job
from sharewell_workers.urgent import urgent

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.graphql.conftest import Api

BEDS = "bed.adult"


@pytest.fixture
def allocate_after() -> timedelta:
    return timedelta(hours=6)


async def test_a_reserve_binds_runs_and_leaves_urgent_requests_answered(api: Api) -> None:
    await _giver(api, 6)
    farm = await _taker(api, "clinic", 4)
    await api.done(
        "planner", "chooseFairness", region="us-nj", resource=BEDS,
        reserves=[{"category": "rural", "share": 500, "institutions": [farm]}],
    )  # fmt: skip
    request = await _answered_at_once(api, "clinic", 4)
    asked = "query ($id: UUID!) { request(id: $id) { approved } }"
    assert (await api.ask("clinic", asked, id=request))["request"] == {"approved": 4}


async def test_what_left_too_short_is_asked_for_anew_and_granted(api: Api) -> None:
    await _giver(api, 10)
    await _taker(api, "clinic", 4)
    await api.done("clinic", "openRequest", **api.need_of(4))
    await api.allocate()
    transfer = (await _transfers(api, "clinic"))[0]
    await api.done("giver", "confirmTransfer", transfer=transfer["id"])
    await api.done("giver", "dispatchTransfer", transfer=transfer["id"], units=1)
    api.at += timedelta(minutes=5)
    await api.allocate()
    assert sorted(row["quantity"] for row in await _transfers(api, "clinic")) == [3, 4]


async def test_an_urgent_grant_counts_as_filled_in_the_next_run_unless_it_was_taken_away(api: Api) -> None:
    await _giver(api, 6)
    await _taker(api, "patient", 8)
    await _taker(api, "clinic", 4)
    await api.done("patient", "openRequest", **api.need_of(8, urgency=2))
    await _answered_at_once(api, "clinic", 4)
    assert await _held(api) == {"clinic": 2, "patient": 0}
    (transfer,) = await _transfers(api, "clinic")
    await api.done("planner", "overridePlan", transfer=transfer["id"], kind="CANCEL", code="DATA_WERE_WRONG")
    assert await _held(api) == {"clinic": 0, "patient": 0}


async def test_an_urgent_plan_is_not_solved_again_and_shows_no_fairness_rule(api: Api) -> None:
    await _giver(api, 2)
    await _taker(api, "clinic", 4)
    request = await _answered_at_once(api, "clinic", 4)
    asked = "query ($request: UUID!) { whatWouldChange(request: $request) { reason } }"
    refused = await api.send("clinic", asked, {"request": request})
    assert refused.refusal == ("INVALID", "Invalid", "id")
    (run,) = (await api.ask("planner", "{ allocations { nodes { rule fairness { rule } } } }"))["allocations"]["nodes"]
    assert run == {"rule": "projected_proportional", "fairness": None}


async def test_a_giver_that_takes_units_out_of_a_plan_stands_on_the_chart_for_it(
    api: Api, migrator_pool: Pool
) -> None:
    transfer = await api.held_transfer()
    giver = api.callers["giver"]
    await migrator_pool.execute("alter table oauth.client disable trigger needs_entry_insert")
    await migrator_pool.execute(
        "insert into oauth.client (client_id, name, roles, scopes, jwks, institution, created_at, decision_id)"
        " select $1, 'x', array['institution'], array['system/*.cruds'], '{\"keys\": [{}]}', $2, now(), id"
        " from audit.decision limit 1",
        giver.principal, giver.institution,
    )  # fmt: skip
    await api.done("giver", "overridePlan", transfer=transfer, kind="CANCEL", code="DATA_WERE_WRONG")
    api.at += timedelta(minutes=1)
    asked = "{ deviationRates { decided departed operators { client overridden } } }"
    assert (await api.ask("regulator", asked))["deviationRates"] == {
        "decided": 1, "departed": 1, "operators": [{"client": "giver-client", "overridden": 1}],
    }  # fmt: skip


async def _giver(api: Api, units: int) -> None:
    await api.institution("giver")
    await api.report("giver", staffed=units + 5, occupied=5)
    await api.done("giver", "publishOffer", **api.pledge_of(units))


async def _taker(api: Api, code: str, lacking: int) -> str:
    id = await api.institution(code, latitude=40.1)  # noqa: A001
    await api.report(code, staffed=5, occupied=5, waiting=lacking)
    return str(id)


async def _answered_at_once(api: Api, code: str, units: int) -> str:
    done = await api.done(code, "openRequest", "request { id }", **api.need_of(units, urgency=5))
    request = str(done["request"]["id"])
    job = Job(id=1, name="urgent", payload={"request": request}, request_id="r-2", attempt=1)
    await urgent(job, api.workers)
    return request


async def _transfers(api: Api, who: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.ask(who, "{ transfers { nodes { id quantity } } }"))["transfers"]["nodes"]
    return found


async def _held(api: Api) -> dict[str, int]:
    """What the next run would count as filled already, by who asks."""
    instance = await api.workers.allocations.snapshot("us-nj", BEDS)
    assert instance is not None
    names = {str(caller.institution): code for code, caller in api.callers.items() if caller.institution}
    found = dict.fromkeys((names[row.institution] for row in instance.receivers), 0)
    for row in instance.receivers:
        found[names[row.institution]] += row.held
    return found
