"""The glass that is broken: at once, narrow, for a while, and never twice alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest
from tests.postgres.graphql.conftest import text
from tests.postgres.graphql.policies.conftest import (
    EXTRA,
    GLASS,
    NARROW,
    WORDY,
    admin_by,
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

from sharewell.authz import shipped_policies
from sharewell.wiring import Services, operator

if TYPE_CHECKING:
    from tests.postgres.conftest import Connection
    from tests.postgres.graphql.conftest import Api

async def test_the_glass_brings_back_what_was_in_force_at_once_everywhere_and_ends_by_itself(
    office: Api, replica: Services
) -> None:
    await in_force(office)
    glass = (await broken(office, 1)).data["breakGlass"]["glass"]
    assert (glass["inForce"], glass["client"], glass["remark"]) == (True, "author", "Nurses are locked out.")
    await replica.policies.catch_up(operator())
    assert [await may_report(process, office) for process in (office.people, replica)] == [False, False]
    alerts = await office.ask("regulator", f"{{ brokenGlasses(onlyCurrent: true) {{ nodes {{ {GLASS[8:-2]} }} }} }}")
    assert [node["id"] for node in alerts["brokenGlasses"]["nodes"]] == [glass["id"]]
    office.at += timedelta(hours=2)
    # Nobody has looked, and the policies of before are back.
    assert [await may_report(process, office) for process in (office.people, replica)] == [True, True]
    assert await replica.policies.catch_up(operator()) == 1
    assert await office.people.policies.catch_up(operator()) == 0
    found = await office.ask("regulator", """{ brokenGlasses { nodes { ending inForce } }
      decisions(subjectKind: "policy") { nodes { kind } } }""")  # fmt: skip
    assert found["brokenGlasses"]["nodes"] == [{"ending": "EXPIRED", "inForce": False}]
    assert {"policy.glass_broken", "policy.glass_expired"} <= {node["kind"] for node in found["decisions"]["nodes"]}


async def test_a_version_whose_time_comes_under_a_broken_glass_is_in_force_when_that_ends(
    office: Api, replica: Services
) -> None:
    await coming(office, EXTRA, 1)
    narrow = await drafted(office, NARROW, "second")
    glass = (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]
    later = await drafted(office, WORDY, files=[file("wordy.cedar", WORDY)], base=2)
    await simulated(office, later)
    await approved(office, later, effectiveFrom=text(office.at + timedelta(minutes=90)))
    office.at += timedelta(minutes=100)
    for process in (office.people, replica):
        await process.policies.catch_up(operator())
        assert (judges_by(process, "planner-opens-requests"), await may_report(process, office)) == (True, False)
    assert await states(office) == {1: "SUPERSEDED", 2: "SUPERSEDED", 3: "VALIDATED", 4: "EFFECTIVE"}
    fresh = await drafted(office, NARROW, files=[file("fresh.cedar", NARROW.replace("planner-opens", "fresh-opens"))])
    assert fresh["base"] == 4  # what is drafted under the glass stands on what is in force without it
    await office.done("second", "endBreakGlass", glass=glass["id"])
    await replica.policies.refresh()
    for process in (office.people, replica):
        assert (judges_by(process, "planner-opens-requests"), judges_by(process, "planners-report-it-all")) == (
            False, True
        )  # fmt: skip


async def test_the_glass_gives_a_named_caller_named_acts_and_nothing_wider(office: Api) -> None:
    wide, narrow = await drafted(office), await drafted(office, NARROW)
    refused = await broken(office, wide["number"])
    assert refused.refusal[0] == "CONFLICT"
    assert "must name one caller" in refused.error["message"]
    assert (await broken(office, narrow["number"])).data["breakGlass"]["glass"]["inForce"]
    north = await office.institution("north")
    await office.done("planner", "openRequest", institution=north, **office.need_of(1))


@pytest.mark.parametrize(
    ("who", "acts"),
    [("second", 'action == Sharewell::Action::"endBreakGlass"'), ("regulator", 'action in Sharewell::Action::"read"')],
)
async def test_no_glass_keeps_others_from_ending_it_or_from_looking(office: Api, who: str, acts: str) -> None:
    """Spared are those that a check could think of; nobody else of the role is."""
    alone = f"""@id("nobody-else")
    @sentence("Nobody but the author ends this, or sees it.")
    forbid (principal is Sharewell::Caller, {acts}, resource)
    when {{ principal == Sharewell::Caller::"{who}" }};"""
    version = await drafted(office, alone)
    refused = await broken(office, version["number"])
    assert refused.refusal[0] == "CONFLICT"
    assert "its forbid nobody-else" in refused.error["message"]


async def test_no_rule_spares_only_whom_it_is_asked_about(office: Api) -> None:
    """For two persons too: what locks all admins out is found, whomever it leaves out by name."""
    spared = " || ".join(
        f'principal == Sharewell::Caller::"{name}"' for name in ("an-admin", "a-regulator", "author", "second")
    )
    text = f"""@id("nobody-else")
    @sentence("Only two admins approve anything.")
    forbid (principal is Sharewell::Caller, action == Sharewell::Action::"approvePolicy", resource)
    unless {{ {spared} }};"""
    version = await drafted(office, text)
    assert (version["state"], version["findings"][0]["code"]) == ("DRAFT", "locks_out_administration")


async def test_a_broken_glass_drops_no_policy_and_no_faulty_version_comes_into_force_by_it(office: Api) -> None:
    shipped = shipped_policies()["offers.cedar"].decode()
    fewer = await drafted(office, files=[file("offers.cedar", shipped.split('@id("')[0])])
    assert (await broken(office, fewer["number"])).refusal[0] == "CONFLICT"
    access = shipped_policies()["access.cedar"].decode()
    faulty = await drafted(office, files=[file("access.cedar", access.replace('"research-changes-nothing"', '"r"')
                                               .replace('"regulator-changes-nothing"', '"s"'))])  # fmt: skip
    assert (await broken(office, faulty["number"])).refusal[0] == "CONFLICT"


async def test_whoever_broke_the_last_glass_needs_a_second_person_before_the_next(office: Api) -> None:
    narrow = await drafted(office, NARROW)
    glass = (await broken(office, narrow["number"])).data["breakGlass"]["glass"]
    assert (await broken(office, narrow["number"], "second")).refusal[0] == "CONFLICT"  # one at a time
    ended = await office.done("second", "endBreakGlass", GLASS, glass=glass["id"])
    assert ended["glass"]["ending"] == "ENDED"
    assert (await office.do("second", "endBreakGlass", glass=glass["id"])).refusal[0] == "CONFLICT"
    assert (await broken(office, narrow["number"])).refusal[0] == "CONFLICT"
    office.at += timedelta(days=30)
    assert (await broken(office, narrow["number"])).refusal[0] == "CONFLICT"
    version = await drafted(office)
    await simulated(office, version)
    await approved(office, version)
    await office.people.policies.catch_up(operator())
    assert (await broken(office, 1)).data["breakGlass"]["glass"]["version"] == 1


@pytest.mark.parametrize("hours", [0, 5, 1000])
async def test_a_glass_is_broken_for_as_long_as_the_operator_allows_and_no_longer(office: Api, hours: int) -> None:
    narrow = await drafted(office, NARROW)
    assert (await broken(office, narrow["number"], hours=hours)).refusal == ("INVALID", "Invalid", "input.until")


async def test_the_database_refuses_a_second_glass_of_the_same_caller_and_a_longer_one(
    office: Api, owner: Connection
) -> None:
    narrow = await drafted(office, NARROW)
    glass = (await broken(office, narrow["number"])).data["breakGlass"]["glass"]
    with pytest.raises(asyncpg.PostgresError, match="ends once, and nothing else"):
        await owner.execute("update sharewell.break_glass set until = until + interval '1 hour'")
    await office.done("author", "endBreakGlass", GLASS, glass=glass["id"])
    again = """insert into sharewell.break_glass
      select gen_random_uuid(), version, reason, now(), now() + interval '1 h',"""
    with pytest.raises(asyncpg.PostgresError, match="does not break the next"):
        await owner.execute(f"{again} client, person, null, null, decision_id, null from sharewell.break_glass")


async def test_the_approval_of_an_admin_of_the_breakers_making_is_no_second_word(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin_by(office, "second", "puppet")
    waiting = await drafted(office)
    await simulated(office, waiting)
    narrow = await drafted(office, NARROW, "second")
    glass = (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]
    await office.done("second", "endBreakGlass", glass=glass["id"])
    office.at += timedelta(hours=1)
    await approved(office, waiting, "puppet", effectiveFrom=text(office.at + timedelta(days=80)))
    assert (await broken(office, narrow["number"], "second")).refusal[0] == "CONFLICT"
    monkeypatch.setattr("sharewell.services.break_glass.others_word", lambda *_, **__: True)
    refused = await broken(office, narrow["number"], "second")
    assert (refused.refusal[0], "nor does anybody of their line" in refused.error["message"]) == ("CONFLICT", True)


async def test_the_breakers_own_approval_and_a_withdrawn_one_are_no_second_word(
    office: Api, owner: Connection
) -> None:
    waiting = await drafted(office)  # by the author, who is not the one to break the glass
    await simulated(office, waiting)
    narrow = await drafted(office, NARROW, "second")
    glass = (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]
    await office.done("second", "endBreakGlass", glass=glass["id"])
    office.at += timedelta(hours=1)
    soon = text(office.at + timedelta(days=80))
    await approved(office, waiting, "second", effectiveFrom=soon)
    assert (await broken(office, narrow["number"], "second")).refusal[0] == "CONFLICT"
    again = """insert into sharewell.break_glass
      select gen_random_uuid(), version, reason, now(), now() + interval '1 h', client, person, null, null,
             decision_id, null from sharewell.break_glass"""
    with pytest.raises(asyncpg.PostgresError, match="does not break the next"):
        await owner.execute(again)
    await office.done("second", "withdrawPolicyVersion", version=waiting["number"])
    others = await drafted(office)
    await simulated(office, others)
    await approved(office, others, "admin", effectiveFrom=soon)
    await office.done("second", "withdrawPolicyVersion", version=others["number"])
    assert (await broken(office, narrow["number"], "second")).refusal[0] == "CONFLICT"
    with pytest.raises(asyncpg.PostgresError, match="does not break the next"):
        await owner.execute(again)
    kept = await drafted(office)
    await simulated(office, kept)
    await approved(office, kept, "admin", effectiveFrom=soon)
    assert (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]["client"] == "second"


async def test_which_glass_was_the_last_is_told_by_the_log_and_not_by_the_clocks_of_processes(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One gateway's clock is behind by a day: its ids and its times say that its glass was broken first."""
    waiting = await drafted(office)
    await simulated(office, waiting)
    later = {"effectiveFrom": text(office.at + timedelta(days=80))}
    await approved(office, waiting, "admin", **later)  # before either glass, by anybody's clock but one
    narrow = await drafted(office, NARROW)
    first = (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]
    await office.done("second", "endBreakGlass", glass=first["id"])
    now = office.at
    with monkeypatch.context() as patched:
        patched.setattr("sharewell.services.break_glass.new_id", lambda: UUID(int=1))
        office.at -= timedelta(days=1)
        glass = (await broken(office, narrow["number"], "author")).data["breakGlass"]["glass"]
        await office.done("author", "endBreakGlass", glass=glass["id"])
    office.at = now
    assert (await broken(office, narrow["number"], "author")).refusal[0] == "CONFLICT"
    monkeypatch.setattr("sharewell.services.break_glass.check_breaks", lambda *_, **__: None)
    refused = await broken(office, narrow["number"], "author")
    assert (refused.refusal[0], "does not break the next" in refused.error["message"]) == ("CONFLICT", True)
