"""A version comes into force in the place it was approved for, or is passed over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.postgres.graphql.conftest import text
from tests.postgres.graphql.policies.conftest import (
    EXTRA,
    NARROW,
    VERSION,
    WORDY,
    coming,
    drafted,
    file,
    judges_by,
    may_report,
    simulated,
    states,
)

from sharewell.authz import Authorizer, shipped_policies
from sharewell.domain.errors import Conflict
from sharewell.store.policy_versions import PolicyVersionRepository
from sharewell.wiring import Services, operator

if TYPE_CHECKING:
    from tests.postgres.conftest import Connection
    from tests.postgres.graphql.conftest import Api

async def test_no_version_is_approved_whose_place_a_later_one_is_to_take(office: Api) -> None:
    later = await coming(office, EXTRA, 2)
    sooner = await drafted(office, NARROW)
    await simulated(office, sooner)
    asked = {"version": sooner["number"], "sha256": sooner["sha256"],
             "effectiveFrom": text(office.at + timedelta(hours=1))}  # fmt: skip
    refused = await office.do("second", "approvePolicies", **asked)
    assert refused.refusal == ("CONFLICT", "Conflict", "input.version")
    assert "withdraw version 2 first" in refused.error["message"]
    await office.done("second", "withdrawPolicyVersion", version=later["number"])
    assert (await office.done("second", "approvePolicies", VERSION, **asked))["version"]["state"] == "APPROVED"


async def test_a_version_is_not_withdrawn_while_an_approved_one_stands_on_it(office: Api) -> None:
    two = await coming(office, EXTRA, 1)
    three = await coming(office, NARROW, 2, files=[file("narrow.cedar", NARROW)], base=2)
    refused = await office.do("second", "withdrawPolicyVersion", version=two["number"])
    assert (refused.refusal[0], "withdraw version 3 first" in refused.error["message"]) == ("CONFLICT", True)
    for version in (three, two):
        await office.done("second", "withdrawPolicyVersion", version=version["number"])
    office.at += timedelta(hours=3)
    await office.people.policies.catch_up(operator())
    assert await states(office) == {1: "EFFECTIVE", 2: "WITHDRAWN", 3: "WITHDRAWN"}


async def test_versions_that_stand_on_each_other_come_into_force_one_after_the_other(office: Api) -> None:
    await coming(office, EXTRA, 1)
    await coming(office, NARROW, 2, files=[file("narrow.cedar", NARROW)], base=2)
    office.at += timedelta(hours=2)
    assert judges_by(office.people, "planner-opens-requests")  # both at once, where nobody looked in between
    assert await office.people.policies.catch_up(operator()) == 2
    assert await states(office) == {1: "SUPERSEDED", 2: "SUPERSEDED", 3: "EFFECTIVE"}
    assert judges_by(office.people, "planners-report-capacity")


async def test_what_was_approved_over_one_release_does_not_undo_the_next_and_that_is_said(
    office: Api, replica: Services
) -> None:
    await coming(office, EXTRA, 2)
    await coming(office, WORDY, 3, base=2)
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"next.cedar": NARROW.encode()})
    counted = REGISTRY.get_sample_value("sharewell_policies_passed_over_total") or 0
    with capture_logs() as logged:
        assert await replica.policies.publish(operator())
    assert REGISTRY.get_sample_value("sharewell_policies_passed_over_total") == counted + 2
    told = [(line["version"], line["replaces"]) for line in logged if "is passed over" in line["event"]]
    assert told == [(2, 1), (3, 2)]
    assert await states(office) == {1: "SUPERSEDED", 2: "PASSED_OVER", 3: "PASSED_OVER", 4: "EFFECTIVE"}
    office.at += timedelta(hours=4)
    for process in (replica, office.people):
        await process.policies.catch_up(operator())
        assert not await may_report(process, office)
    assert judges_by(replica, "planner-opens-requests")
    found = await office.ask("regulator", """{ decisions(kind: "policy.passed_over") { nodes { subjectId actor } }
      policyVersion(number: 2) { replaces steps { state } } }""")  # fmt: skip
    assert {node["subjectId"] for node in found["decisions"]["nodes"]} == {"2", "3"}
    assert found["policyVersion"]["replaces"] == 1
    assert [step["state"] for step in found["policyVersion"]["steps"]][-2:] == ["APPROVED", "PASSED_OVER"]


async def test_no_process_judges_by_what_is_passed_over_before_that_is_on_record(
    office: Api, owner: Connection
) -> None:
    """As a release of before left it: two versions approved over one, the sooner of them last."""
    await coming(office, EXTRA, 2)
    await owner.execute("""
      alter table sharewell.policy_version disable trigger user;
      update sharewell.policy_version set effective_from = effective_from - interval '90 minutes' where number = 2
    """)
    await coming(office, NARROW, 1, files=[file("narrow.cedar", NARROW)], base=2)
    await owner.execute("""
      update sharewell.policy_version set effective_from = effective_from + interval '90 minutes' where number = 2;
      update sharewell.policy_version set replaces = 1 where number = 3;
      alter table sharewell.policy_version enable always trigger life, enable always trigger keep_step
    """)
    await office.people.policies.refresh()
    office.at += timedelta(hours=3)
    assert judges_by(office.people, "planner-opens-requests")
    assert await office.people.policies.catch_up(operator()) == 2
    assert await states(office) == {1: "SUPERSEDED", 2: "PASSED_OVER", 3: "EFFECTIVE"}


async def test_an_approval_by_the_release_before_which_knows_of_no_places_has_its_place(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its programs may still run, or be started again, over the tables of this one."""
    update = PolicyVersionRepository.update

    async def without(self: Any, version: Any, decision: Any) -> None:
        await update(self, replace(version, replaces=None), decision)

    monkeypatch.setattr(PolicyVersionRepository, "update", without)
    await coming(office, EXTRA, 1)
    found = await office.ask("admin", "{ policyVersion(number: 2) { state replaces } }")
    assert found["policyVersion"] == {"state": "APPROVED", "replaces": 1}
    office.at += timedelta(hours=1)
    await office.people.policies.catch_up(operator())
    assert await may_report(office.people, office)


async def test_the_database_brings_no_version_into_force_in_another_ones_place(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await coming(office, EXTRA, 1)
    monkeypatch.setattr("sharewell.services.policies.PolicyService._replaced", _nothing)
    monkeypatch.setattr("sharewell.domain.policy_versions.PolicyVersion.took_effect", _gullibly)
    office.at += timedelta(hours=1)
    with pytest.raises(Conflict, match="approved to replace"):
        await office.people.policies.catch_up(operator())


async def _nothing(*_: object) -> None:
    """No version is superseded."""


def _gullibly(self: Any, at: Any, **_: object) -> Any:
    from sharewell.domain.policy_versions import VersionState  # noqa: PLC0415

    return replace(self, state=VersionState.EFFECTIVE, effective_at=at)
