"""The nightly proof that nothing is missing: made by the worker, on record, and read by regulators."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.postgres.conftest import behind_the_guard
from tests.postgres.graphql.conftest import Api

from sharewell.domain.errors import Forbidden
from sharewell.wiring import operator
from sharewell_workers.jobs import Job
from sharewell_workers.reconcile import reconcile
from sharewell_workers.worker import SCHEDULES, WORK

JOB = Job(id=7, name="reconcile", payload={}, request_id="r-7", attempt=1)
ASK = """
{ reconciliations { nodes { id at complete decisions rows tables gaps { problem count missing } } } }
"""


async def found(api: Api) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await api.ask("regulator", ASK))["reconciliations"]["nodes"]
    return nodes


async def test_after_a_journey_the_worker_finds_nothing_missing_and_a_regulator_reads_so(api: Api) -> None:
    transfer = await api.held_transfer()
    await api.done("giver", "confirmTransfer", transfer=transfer, onBehalfOf={"identifier": "staff-1"})
    with capture_logs() as logs:
        await reconcile(JOB, api.workers)
    assert [line["event"] for line in logs] == ["the log is complete"]
    assert REGISTRY.get_sample_value("sharewell_log_missing") == 0
    (made,) = await found(api)
    assert (made["complete"], made["gaps"]) == (True, [])
    assert made["decisions"] > 5
    assert {"sharewell.offer.decision_id", "oauth.client.decision_id"} <= set(made["tables"])


async def test_a_row_that_somebody_removed_is_named_cried_out_and_counted(api: Api, owner: Any) -> None:
    await api.held_transfer()
    decision = await owner.fetchval("select decision_id from sharewell.transfer_step limit 1")
    report = await owner.fetchval("select decision_id from sharewell.capacity_report order by 1 limit 1")
    await owner.execute(
        "alter table sharewell.capacity_report disable trigger never_rewritten, disable trigger needs_entry_delete"
    )
    await owner.execute("delete from sharewell.capacity_report where decision_id = $1", report)
    with capture_logs() as logs:
        await reconcile(JOB, api.workers)
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("the log is not complete", "error")
    assert REGISTRY.get_sample_value("sharewell_log_missing") == 1
    (made,) = await found(api)
    assert made["complete"] is False
    assert made["gaps"] == [{
        "problem": "decisions_without_row.sharewell.capacity_report.decision_id", "count": 1,
        "missing": [f"decision {report}"],
    }]  # fmt: skip
    assert decision != report


async def test_the_result_is_an_entry_and_so_is_its_reading(api: Api, owner: Any) -> None:
    await reconcile(JOB, api.workers)
    await reconcile(JOB, api.workers)
    newest, older = await found(api)
    assert UUID(newest["id"]) > UUID(older["id"])
    asked = "query ($id: UUID!) { decision(id: $id) { actor action details } }"
    entry = await api.ask("regulator", asked, id=newest["id"])
    assert (entry["decision"]["actor"], entry["decision"]["action"]) == ("reconcile", "reconcileLog")
    assert entry["decision"]["details"]["problems"] == {}
    reads = "select count(*) from audit.decision where kind = 'audit.read' and actor = 'regulator'"
    assert await owner.fetchval(reads) == 2


@pytest.mark.parametrize("who", ["admin", "planner", "nobody"])
async def test_results_are_read_by_regulators_only(api: Api, who: str) -> None:
    refused = await api.send(who, ASK)
    assert refused.error["extensions"]["code"] == "FORBIDDEN"


async def test_an_operator_cannot_put_a_result_on_record(api: Api) -> None:
    with pytest.raises(Forbidden):
        await api.workers.completeness.reconcile(operator())


async def test_a_log_that_cannot_be_read_is_a_failure_and_not_a_result(api: Api, owner: Any, admin_dsn: str) -> None:
    await api.institution("clinic")
    await behind_the_guard(admin_dsn, "entry", "update audit.entry set body = '{' where staged_id = 1")
    with capture_logs() as logs, pytest.raises(Exception, match="no longer JSON"):
        await reconcile(JOB, api.workers)
    assert [line["log_level"] for line in logs] == ["error"]
    assert await owner.fetchval("select count(*) from audit.decision where kind = 'audit.reconciled'") == 0


def test_both_nightly_proofs_are_jobs_that_the_clock_asks_for() -> None:
    assert {"reconcile", "retain"} <= {schedule.job for schedule in SCHEDULES} <= set(WORK)
