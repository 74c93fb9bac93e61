"""A draft of the policies, tried on what was really decided, and compared with what is in force."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.postgres.graphql.conftest import EVERYTHING, NOON, Api, text

from sharewell.authz import Authorizer, shipped_policies
from sharewell.domain.audit import Decision
from sharewell.domain.errors import Forbidden
from sharewell.domain.inquiry import ASKED
from sharewell.domain.policy import Action, Target
from sharewell.domain.policy_versions import MOST_FILE_BYTES, MOST_FILES
from sharewell.domain.principals import Caller, Role
from sharewell.services import comparisons, simulations
from sharewell.settings import DatabaseRole

CLOSED = """
@id("no-offers-on-trial")
@sentence("Nobody pledges anything while this is tried.")
forbid (principal, action == Sharewell::Action::"publishOffer", resource);
"""
WIDER = """
@id("institutions-see-all-requests")
@sentence("Institutions see every request on trial.")
permit (
  principal is Sharewell::Caller in Sharewell::Role::"institution",
  action == Sharewell::Action::"viewRequest",
  resource
);
"""
NOTHING = """
@id("nothing-at-all")
@sentence("Nothing is permitted while this is tried.")
forbid (principal, action, resource);
"""
PROVEN = """
@id("everybody-proves-a-key")
@sentence("Whoever publishes proves a key, while this is tried.")
forbid (principal, action == Sharewell::Action::"publishOffer", resource) unless { context.senderConstrained };
"""
WINDOW = {"since": text(NOON), "until": text(NOON + timedelta(days=1))}
SIMULATE = """
query ($files: [PolicyFileInput!]!, $since: DateTime!, $until: DateTime!) {
  policySimulation(files: $files, since: $since, until: $until) {
    decisionId draft moreChanged withheld questions
    total { decisions unchanged newlyAllowed newlyDenied notReplayable }
    notReplayed { reason decisions }
    groups { institution { code } action counts { unchanged newlyAllowed newlyDenied } }
    changed { id action then { allowed policies } now { allowed policies } }
  }
}"""
CHANGES = """
query ($files: [PolicyFileInput!]!, $since: DateTime!, $until: DateTime!, $after: String) {
  simulatedChanges(files: $files, since: $since, until: $until, first: 2, after: $after) {
    nodes { id actor } pageInfo { hasNextPage endCursor }
  }
}"""
COMPARE = """
query ($files: [PolicyFileInput!]!) {
  policyComparison(files: $files) {
    relation exhaustive unclear actions { action newlyAllowed newlyDenied examples { sentence } }
  }
}"""
OTHERS_REQUESTS = "query ($i: UUID) { requests(institution: $i) { nodes { id } } }"


def draft(*more: str) -> list[dict[str, str]]:
    files = shipped_policies() | {"trial.cedar": "".join(more).encode()}
    return [{"name": name, "text": data.decode()} for name, data in files.items()]


async def lived(api: Api) -> None:
    """Two institutions, two offers, and three times a neighbour's requests that may not be seen."""
    await api.institution("north")
    south = await api.institution("south")
    for who in ("north", "south"):
        await api.report(who, staffed=20, occupied=5)
        await api.done(who, "publishOffer", **api.pledge_of(3))
    for _ in range(3):
        assert (await api.send("north", OTHERS_REQUESTS, {"i": south})).refusal[0] == "FORBIDDEN"


async def simulated(api: Api, files: list[dict[str, str]], who: str = "regulator") -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask(who, SIMULATE, files=files, **WINDOW))["policySimulation"]
    return found


async def test_what_is_in_force_decides_the_past_as_it_did(api: Api) -> None:
    await lived(api)
    found = await simulated(api, draft())
    total = found["total"]
    assert (total["newlyAllowed"], total["newlyDenied"], total["notReplayable"]) == (0, 0, 0)
    assert total["unchanged"] == total["decisions"] > 10
    assert found["changed"] == []


async def test_a_draft_tells_what_it_would_have_changed_for_whom(api: Api) -> None:
    await lived(api)
    found = await simulated(api, draft(CLOSED, WIDER))
    assert (found["total"]["newlyAllowed"], found["total"]["newlyDenied"]) == (3, 2)
    assert found["questions"] < found["total"]["decisions"]
    counted = {
        ((group["institution"] or {}).get("code"), group["action"]): (c["newlyAllowed"], c["newlyDenied"])
        for group in found["groups"] if (c := group["counts"])["newlyAllowed"] + c["newlyDenied"]
    }  # fmt: skip
    assert counted == {
        ("north", "viewRequest"): (3, 0), ("north", "publishOffer"): (0, 1), ("south", "publishOffer"): (0, 1),
    }  # fmt: skip
    published = next(one for one in found["changed"] if one["action"] == "publishOffer")
    assert published["then"] == {"allowed": True, "policies": ["pledge-own-units"]}
    assert published["now"] == {"allowed": False, "policies": ["no-offers-on-trial"]}
    opened = await api.ask("regulator", "query ($id: UUID!) { decision(id: $id) { action } }", id=published["id"])
    assert opened["decision"]["action"] == "publishOffer"


async def test_changed_decisions_are_paged_without_one_twice_or_left_out(api: Api) -> None:
    await lived(api)
    files = draft(CLOSED, WIDER)
    whole = [one["id"] for one in (await simulated(api, files))["changed"]]
    assert [node["id"] for node in await changes(api, files)] == whole
    assert len(whole) == 5


async def changes(api: Api, files: list[dict[str, str]], who: str = "regulator") -> list[dict[str, Any]]:
    """All of until now that come out otherwise, page by page; the readings are later."""
    after, seen, window = None, list[dict[str, Any]](), WINDOW | {"until": text(api.at + timedelta(seconds=1))}
    api.at += timedelta(seconds=2)
    while True:
        page = (await api.ask(who, CHANGES, files=files, after=after, **window))["simulatedChanges"]
        seen += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return seen
        after = page["pageInfo"]["endCursor"]


@pytest.mark.parametrize("who", ["admin", "auditor", "regulator"])
async def test_single_decisions_are_named_to_whoever_may_read_them_and_counted_for_whoever_may_try_a_draft(
    api: Api, who: str
) -> None:
    """As `decision(id)` would open each one that is named, and no other."""
    await lived(api)
    api.callers["auditor"] = Caller(
        principal="auditor", roles=frozenset({Role.AUDITOR}), scopes=EVERYTHING, request_id="r-1"
    )
    files = draft(NOTHING)
    every = await simulated(api, files)
    found = await simulated(api, files, who)
    named = {one["id"] for one in found["changed"]}
    assert named <= {one["id"] for one in await changes(api, files, who)}
    opened = "query ($id: UUID!) { decision(id: $id) { id } }"
    for one in every["changed"]:
        answer = await api.send(who, opened, {"id": one["id"]})
        assert (answer.body.get("errors") is None) == (one["id"] in named), one["action"]
    total = found["total"]
    assert found["withheld"] == total["newlyAllowed"] + total["newlyDenied"] - len(found["changed"])
    counted = {
        ((group["institution"] or {}).get("code"), group["action"]): group["counts"]["newlyDenied"]
        for group in found["groups"]
    }  # fmt: skip
    assert counted["north", "publishOffer"] == counted["south", "publishOffer"] == 1
    assert (found["withheld"] > 0) == (who != "regulator")


async def test_whose_decisions_are_named_finds_that_on_record(api: Api) -> None:
    await lived(api)
    named = await changes(api, draft(CLOSED))
    found = await api.ask("regulator", """{ decisions(kind: "data.read", action: "readAudit", first: 50) {
      nodes { id } } }""")  # fmt: skip
    query = "query ($id: UUID!) { decision(id: $id) { institutionId details } }"
    read = [(await api.ask("regulator", query, id=node["id"]))["decision"] for node in found["decisions"]["nodes"]]
    told = [node for node in read if "ids" in node["details"]]
    assert {node["institutionId"] for node in told} == {str(api.callers[who].institution) for who in ("north", "south")}
    assert sorted(one for node in told for one in node["details"]["ids"]) == sorted(each["id"] for each in named)


async def test_a_simulation_is_on_record_with_its_window_and_draft_before_it_is_answered(api: Api) -> None:
    await lived(api)
    found = await simulated(api, draft(CLOSED), "admin")
    query = "query ($id: UUID!) { decision(id: $id) { kind actor subjectId details } }"
    entry = (await api.ask("regulator", query, id=found["decisionId"]))["decision"]
    assert (entry["kind"], entry["actor"], entry["subjectId"]) == ("policy.simulated", "admin", found["draft"])
    assert entry["details"]["since"].startswith("2026-03-01T12:00:00")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([{"name": "a.cedar", "text": CLOSED}], "cedarschema is missing"),
        (draft("permit (principal, action, resource);"), "needs an @id"),
        ([*draft(), {"name": "offers.cedar", "text": ""}], "same name"),
    ],
)
async def test_a_draft_that_cannot_be_used_is_told_why(api: Api, files: list[dict[str, str]], said: str) -> None:
    answer = await api.send("admin", SIMULATE, {"files": files, **WINDOW})
    assert answer.refusal == ("INVALID", "Invalid", "files")
    assert said in answer.error["message"]


async def test_an_empty_window_and_too_long_a_one_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await lived(api)
    turned = {"since": WINDOW["until"], "until": WINDOW["since"]}
    assert (await api.send("admin", SIMULATE, {"files": draft(), **turned})).refusal[2] == "until"
    monkeypatch.setattr(simulations, "MOST_DECISIONS", 3)
    answer = await api.send("admin", SIMULATE, {"files": draft(), **WINDOW})
    assert answer.refusal[2] == "since"
    assert "take a shorter one" in answer.error["message"]


async def staged(urls: Mapping[DatabaseRole, str], decision: Decision) -> None:
    conn = await asyncpg.connect(urls[DatabaseRole.GATEWAY])
    try:
        await conn.execute("select audit.record($1)", decision.entry())
    finally:
        await conn.close()


async def test_old_entries_are_replayed_only_where_what_they_leave_out_does_not_matter(
    api: Api, database_urls: Mapping[DatabaseRole, str], a_decision: Callable[..., Decision]
) -> None:
    """An entry of before the token's facts were told; of before the inquiry was; and one that asked no policy."""
    await lived(api)
    in_force = api.people.office.authz.policy_set
    north = api.callers["north"]
    asked = {
        "roles": ["institution"], "scopes": ["system/*.cruds"], "institution": str(north.institution), "code": "0",
        "target": {"kind": "offer", "id": "o", "owner": str(north.institution)}, "context": {"callerStatus": "active"},
    }  # fmt: skip
    old = {"actor": "north-client", "action": "publishOffer", "policies": ("pledge-own-units",), "policy_set": in_force}
    await staged(database_urls, a_decision(**old, details={ASKED: asked}))
    await staged(database_urls, a_decision(**old, details={}))
    await staged(database_urls, a_decision(kind="access.refused", outcome="refused", policy_set="", policies=()))
    await staged(database_urls, a_decision(**{**old, "action": "fly"}, details={ASKED: asked}))

    async def reasons(*more: str) -> dict[str, int]:
        return {row["reason"]: row["decisions"] for row in (await simulated(api, draft(*more)))["notReplayed"]}

    told = {"NOT_TOLD": 1, "NOT_ASKED": 1, "UNREADABLE": 1}
    assert await reasons() == told
    assert await reasons(CLOSED) == told, "whatever its token was, this refuses it"
    assert await reasons(PROVEN) == told | {"HALF_TOLD": 1}
    overflow = "when { 9223372036854775807 + (if context has callerStatus then 1 else 0) == 0 };"
    assert (await reasons(CLOSED.replace(";", overflow)))["DRAFT_FAILS"] == 3


async def test_a_draft_is_compared_with_what_is_in_force(api: Api) -> None:
    async def compared(*more: str) -> dict[str, Any]:
        found: dict[str, Any] = (await api.ask("admin", COMPARE, files=draft(*more)))["policyComparison"]
        return found

    assert (await compared())["relation"] == "EQUIVALENT"
    wider = await compared(WIDER)
    assert (wider["relation"], wider["exhaustive"]) == ("MORE_PERMISSIVE", True)
    (act,) = wider["actions"]
    assert act["action"] == "viewRequest"
    assert "allowed by institutions-see-all-requests now" in act["examples"][0]["sentence"]
    assert (await compared(CLOSED))["relation"] == "LESS_PERMISSIVE"
    assert (await compared(CLOSED, WIDER))["relation"] == "NEITHER"
    treated = ' when { context has purposeOfUse && context.purposeOfUse like "T*" };'
    vague = await compared(CLOSED.replace(";", treated))
    assert vague["exhaustive"] is False
    assert "no-offers-on-trial" in vague["unclear"][0]
    kinds = await api.ask("regulator", '{ decisions(kind: "policy.compared") { nodes { actor } } }')
    assert [node["actor"] for node in kinds["decisions"]["nodes"]] == ["admin"] * 5


BROKEN = [{"name": "a.cedar", "text": "permit (principal, action, resource"}]
TWICE = [{"name": "a.cedar", "text": ""}, {"name": "a.cedar", "text": ""}]


@pytest.mark.parametrize("query", [SIMULATE, CHANGES, COMPARE])
@pytest.mark.parametrize("files", [BROKEN, TWICE, [{"name": "a.cedar", "text": "x" * 600_000}]])
async def test_whoever_may_try_no_draft_is_refused_on_record_whatever_the_draft_is(
    api: Api, query: str, files: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.institution("north")

    def never(*_: object) -> Authorizer:
        pytest.fail("a draft was read for somebody who may try none")

    monkeypatch.setattr(simulations, "read_draft", never)
    monkeypatch.setattr(comparisons, "read_draft", never)
    variables = {"files": files, **({} if query == COMPARE else WINDOW)}
    assert (await api.send("north", query, variables)).refusal[0] == "FORBIDDEN"
    found = await api.ask("regulator", '{ decisions(kind: "access.refused") { nodes { actor action } } }')
    assert [node["action"] for node in found["decisions"]["nodes"]] == ["simulatePolicy"]


@pytest.mark.parametrize("query", [SIMULATE, CHANGES, COMPARE])
async def test_a_draft_is_read_beside_what_else_goes_on_and_only_once_it_is_on_record(
    api: Api, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = list[threading.Thread]()

    def read(files: Mapping[str, bytes]) -> Authorizer:
        threads.append(threading.current_thread())
        return Authorizer.load(files)

    monkeypatch.setattr(simulations, "read_draft", read)
    monkeypatch.setattr(comparisons, "read_draft", read)
    await api.ask("admin", query, files=draft(CLOSED), **({} if query == COMPARE else WINDOW))
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    monkeypatch.undo()
    answer = await api.send("admin", query, {"files": BROKEN, **({} if query == COMPARE else WINDOW)})
    assert answer.refusal == ("INVALID", "Invalid", "files")
    kind = "policy.compared" if query == COMPARE else "policy.simulated"
    found = await api.ask("regulator", f'{{ decisions(kind: "{kind}") {{ nodes {{ actor }} }} }}')
    assert len(found["decisions"]["nodes"]) == 2


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([{"name": f"{number}.cedar", "text": ""} for number in range(MOST_FILES + 1)], "at most 100 files"),
        ([{"name": "a.cedar", "text": " " * (MOST_FILE_BYTES + 1)}], "a.cedar has more than"),
        ([{"name": f"{number}.cedar", "text": " " * MOST_FILE_BYTES} for number in range(9)], "524288 bytes"),
    ],
)
@pytest.mark.parametrize("query", [SIMULATE, COMPARE])
async def test_a_draft_is_no_larger_than_a_version(
    api: Api, query: str, files: list[dict[str, str]], said: str
) -> None:
    answer = await api.send("admin", query, {"files": files, **({} if query == COMPARE else WINDOW)})
    assert answer.refusal == ("INVALID", "Invalid", "files")
    assert said in answer.error["message"]


async def test_of_many_complaints_about_a_draft_the_first_ten_are_told(api: Api) -> None:
    wrong = "".join(
        f'@id("p-{number}") @sentence("S.") permit (principal, action, resource) when {{ resource.nothing{number} }};'
        for number in range(300)
    )
    message = (await api.send("admin", COMPARE, {"files": draft(wrong)})).error["message"]
    assert message.count("nothing") <= 10
    assert "more" in message
    assert len(message) < 2_200


async def test_others_have_their_turn_while_a_page_of_decisions_is_asked_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    north = replace(api.callers["nobody"], roles=frozenset({Role.INSTITUTION}))
    for number in range(3 * simulations.IN_A_ROW):
        with pytest.raises(Forbidden):
            await api.people.office.allow(
                replace(north, scopes=frozenset({f"system/X{letters(number)}.r"})),
                Action.VIEW_REQUEST, Target.list("request"),
            )  # fmt: skip
    turns, asked_in = 0, Counter[int]()
    ask = simulations.asked

    def counted(*given: Any) -> Any:
        asked_in[turns] += 1
        return ask(*given)

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(simulations, "asked", counted)
    beside = asyncio.create_task(other())
    found = await simulated(api, draft())
    beside.cancel()
    assert found["questions"] > 2 * simulations.IN_A_ROW
    assert max(asked_in.values()) <= simulations.IN_A_ROW


def letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


@pytest.mark.parametrize("query", [SIMULATE, CHANGES, COMPARE])
async def test_institutions_and_planners_try_no_drafts(api: Api, query: str) -> None:
    await api.institution("north")
    for who in ("north", "planner", "nobody"):
        variables = {"files": draft(), **({} if query == COMPARE else WINDOW)}
        assert (await api.send(who, query, variables)).refusal[0] == "FORBIDDEN"
