"""Clocks that differ, and acts that wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres.graphql.conftest import text
from tests.postgres.graphql.policies.conftest import (
    CLOSED,
    EXTRA,
    GLASS,
    NARROW,
    VERSION,
    WORDY,
    approved,
    broken,
    coming,
    drafted,
    file,
    in_force,
    judges_by,
    may_report,
    simulated,
    states,
)

from sharewell.authz import SCHEMA, Authorizer, shipped_policies
from sharewell.domain.break_glass import GlassDraft, GlassReason
from sharewell.domain.errors import Conflict, Forbidden
from sharewell.store.policy_versions import ALONE
from sharewell.wiring import Services, operator

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.graphql.conftest import Api

async def waiting(pool: Pool, number: int) -> None:
    """Until so many wait for their turn to write versions."""
    async with asyncio.timeout(60):
        while await pool.fetchval("select count(*) from pg_locks where locktype = 'advisory' and not granted") < number:
            await asyncio.sleep(0.01)


async def one_after_the_other(pool: Pool, *acts: Callable[[], Awaitable[Any]], between: Callable[[], None]) -> Any:
    """Each begins before the first is let to write; then they write in this order."""
    tasks: list[asyncio.Future[Any]] = []
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(ALONE)
        for number, act in enumerate(acts, 1):
            tasks.append(asyncio.ensure_future(act()))
            await waiting(pool, number)
        between()
    return await asyncio.gather(*tasks)


def nothing_happens() -> None:
    """Between."""


async def test_a_process_whose_clock_is_behind_judges_by_what_is_on_record_as_in_force(
    office: Api, replica: Services
) -> None:
    await in_force(office)
    replica.office.now = lambda: office.at - timedelta(seconds=5)
    await replica.policies.refresh()
    assert await may_report(replica, office)
    assert replica.office.rulebook.scheduled_at(replica.office.now()).number == 2  # type: ignore[union-attr]


async def test_a_gateway_whose_clock_is_behind_simulates_and_approves_what_another_one_edited_just_now(
    office: Api,
) -> None:
    version = await drafted(office)
    now, window = office.at, text(office.at - timedelta(days=7))
    office.at -= timedelta(seconds=5)
    done = await office.do("author", "simulatePolicies", VERSION, version=version["number"], since=window)
    assert "errors" not in done.body
    office.at -= timedelta(seconds=5)
    assert (await approved(office, version))["effectiveFrom"] == text(now)
    office.at = now
    await office.people.policies.catch_up(operator())
    assert await may_report(office.people, office)


async def test_a_clock_that_is_behind_lets_nothing_wide_through_the_glass(office: Api, replica: Services) -> None:
    await in_force(office)
    wide = await drafted(office, WORDY, files=[file("wordy.cedar", WORDY)])
    replica.office.now = lambda: office.at - timedelta(seconds=5)
    draft = GlassDraft(
        version=wide["number"], reason=GlassReason.WRONG_RULE, until=office.at + timedelta(hours=1), remark="R."
    )
    with pytest.raises(Conflict, match="must name one caller"):
        await replica.break_glass.break_it(office.callers["author"], draft)


async def test_a_process_that_had_to_wait_brings_into_force_what_was_approved_meanwhile(
    office: Api, replica: Services, gateway_pool: Pool
) -> None:
    narrow, version = await drafted(office, NARROW), await drafted(office)
    await simulated(office, version)
    assert "errors" not in (await broken(office, narrow["number"])).body
    office.at += timedelta(hours=2)  # the end of the glass is to be put on record
    recorded = await one_after_the_other(
        gateway_pool, lambda: approved(office, version), lambda: replica.policies.catch_up(operator()),
        between=nothing_happens,
    )  # fmt: skip
    assert recorded[1] == 2
    assert (await states(office))[version["number"]] == "EFFECTIVE"


async def test_a_release_that_starts_takes_the_place_of_nothing_that_was_approved_meanwhile(
    office: Api, replica: Services, gateway_pool: Pool
) -> None:
    version = await drafted(office)
    await simulated(office, version)
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"next.cedar": NARROW.encode()})
    await one_after_the_other(
        gateway_pool, lambda: approved(office, version), lambda: replica.policies.publish(operator()),
        between=nothing_happens,
    )  # fmt: skip
    assert await states(office) == {1: "SUPERSEDED", 2: "EFFECTIVE", 3: "VALIDATED"}
    assert await may_report(replica, office)


async def test_nothing_is_withdrawn_whose_time_came_while_that_had_to_wait(office: Api, gateway_pool: Pool) -> None:
    version = await coming(office, EXTRA, 1)
    office.at += timedelta(minutes=59)

    def time_passes() -> None:
        office.at += timedelta(minutes=2)

    (answer,) = await one_after_the_other(
        gateway_pool, lambda: office.do("second", "withdrawPolicyVersion", version=version["number"]),
        between=time_passes,
    )  # fmt: skip
    assert (answer.refusal[0], "its time has come" in answer.error["message"]) == ("CONFLICT", True)
    assert await may_report(office.people, office)


async def test_of_two_approvals_the_one_that_had_to_wait_is_of_the_later_time(office: Api, gateway_pool: Pool) -> None:
    """So it stands on what the other one brought into force, or is refused for that."""
    version = await drafted(office)
    await simulated(office, version)

    def time_passes() -> None:
        office.at += timedelta(minutes=2)

    (done,) = await one_after_the_other(gateway_pool, lambda: approved(office, version), between=time_passes)
    assert done["effectiveFrom"] == text(office.at)


async def test_a_draft_is_written_on_top_of_what_another_process_brought_into_force_just_now(
    office: Api, replica: Services
) -> None:
    await in_force(office)
    made = await replica.policy_versions.draft(office.callers["author"], {"more.cedar": NARROW}, base=None, why="W.")
    assert made.subject.base == 2
    with pytest.raises(Conflict, match="no longer is"):
        await replica.policy_versions.roll_back(office.callers["author"], 2, why="W.")


async def test_going_back_and_forth_is_a_version_each_time_and_never_one_that_changes_nothing(office: Api) -> None:
    await in_force(office)
    for to, reports in ((1, False), (2, True), (3, False)):
        back = (await office.done("author", "rollBackPolicies", VERSION, to=to, why="Back."))["version"]
        await approved(office, back)
        await office.people.policies.catch_up(operator())
        assert (back["returnsTo"], await may_report(office.people, office)) == (to, reports)
    for same in (1, 3, 5):
        refused = await office.do("author", "rollBackPolicies", to=same, why="Again.")
        assert refused.refusal == ("CONFLICT", "Conflict", "input.to")


async def test_the_set_of_a_release_that_was_approved_comes_into_force_as_it_was_approved(
    office: Api, replica: Services
) -> None:
    """To the byte, also in a release that came meanwhile and ships another."""
    await in_force(office)
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"next.cedar": NARROW.encode()})
    await replica.policies.publish(operator())
    found = await office.ask("admin", "{ policyVersion(number: 3) { number sha256 origin } }")
    shipped = found["policyVersion"]
    await simulated(office, shipped)
    await approved(office, shipped, effectiveFrom=text(office.at + timedelta(hours=1)))
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"later.cedar": CLOSED.encode()})
    await replica.policies.publish(operator())
    office.at += timedelta(hours=1)
    assert (judges_by(replica, "planner-opens-requests"), judges_by(replica, "no-reports-on-trial")) == (True, False)
    await replica.policies.catch_up(operator())
    query = '{ decisions(kind: "policy.published", first: 1) { nodes { subjectId } } }'
    assert (await office.ask("regulator", query))["decisions"]["nodes"] == [{"subjectId": shipped["sha256"]}]
    # It is the set of a release all the same: the next one takes its place, also where that could not load it.
    files = {name: data for name, data in shipped_policies().items() if name != "capacity.cedar"}
    files[SCHEMA] = files[SCHEMA].replace(b"action reportCapacity in [write]", b"action tellCapacity in [write]")
    replica.office.rulebook.own, replica.office.rulebook._loaded = Authorizer.load(files), {}
    assert await replica.policies.publish(operator())
    assert (await states(office))[3] == "SUPERSEDED"
    assert replica.office.authz is replica.office.rulebook.own


async def test_what_a_newer_release_judged_by_an_earlier_version_can_be_looked_into_afterwards(
    office: Api, replica: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the version with its own schema, and so by a set that no other release has."""
    from sharewell.domain.policy import Action, Target  # noqa: PLC0415

    await in_force(office, CLOSED)
    back = (await office.done("author", "rollBackPolicies", VERSION, to=1, why="Back."))["version"]
    await approved(office, back)
    await office.people.policies.catch_up(operator())
    files = shipped_policies()
    newer = files | {SCHEMA: files[SCHEMA] + b"\n"}
    replica.office.rulebook.own = Authorizer.load(newer)
    with monkeypatch.context() as patched:
        patched.setattr("sharewell.vetting.findings.shipped_policies", lambda: newer)
        await replica.policies.publish(operator())
    glass = (await broken(office, 2)).data["breakGlass"]["glass"]
    await replica.policies.catch_up(operator())
    assert replica.office.authz.policy_set != office.people.office.authz.policy_set
    with pytest.raises(Forbidden, match="Nobody reports anything"):
        await replica.office.permit(office.callers["planner"], Action.REPORT_CAPACITY, Target(kind="capacity", id="1"))
    await office.done("second", "endBreakGlass", GLASS, glass=glass["id"])
    asked = '{ decisions(kind: "access.refused", first: 1) { nodes { id } } }'
    (refused,) = (await office.ask("regulator", asked))["decisions"]["nodes"]
    query = "query ($id: UUID!) { whyRefused(decision: $id) { policies { id } } }"
    found = await office.ask("regulator", query, id=refused["id"])
    assert found["whyRefused"]["policies"] == [{"id": "no-reports-on-trial"}]
