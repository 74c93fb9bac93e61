"""Sharing agreements, and what each reader sees of counts that are another's: exact, or withheld as a range."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.adversary import Adversary
from tests.postgres.graphql.conftest import BEDS, NOON, text

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

REPORTS = """query ($of: UUID, $resource: String, $exact: Boolean! = false) {
  capacityReports(institution: $of, resource: $resource, exact: $exact) { nodes {
    institutionId staffed occupied blocked waiting free need surge24h surge72h
    marks { measure mark } withheld { count atLeast atMost } } } }"""
REGION = """query ($resource: String) { regionCapacity(region: "us-nj", resource: $resource) {
  resource institutions staffed { exact atLeast atMost } occupied { exact atLeast atMost }
  free { exact atLeast atMost } waiting { exact atLeast atMost } } }"""
AGREEMENT = "agreement { id giverId receiverId resource detail acceptedAt endedAt } decision { id }"
UNTIL = text(NOON + timedelta(days=10))
SMALL = {"staffed": 20, "occupied": 15, "waiting": 3, "blocked": 2}
NUMBERS = {
    "staffed": "staffed", "occupied": "occupied", "blocked": "blocked", "waiting": "waiting", "free": "free",
    "need": "need", "surge24h": "surge_24h", "surge72h": "surge_72h", "admissions": "admissions",
}  # fmt: skip
GATHERED = """query ($first: Int!) {
  capacityReports(first: $first) { nodes { id staffed occupied blocked waiting free need surge24h surge72h admissions
    withheld { count atLeast atMost } } }
  regionCapacity(region: "us-nj") { resource staffed { ...Ends } occupied { ...Ends } blocked { ...Ends }
    free { ...Ends } waiting { ...Ends } } }
fragment Ends on CountRange { atLeast atMost }"""


@pytest.fixture
async def houses(api: Api) -> dict[str, str]:
    """Three institutions; the owner reports small numbers."""
    ids = {name: await api.institution(name) for name in ("owner", "partner", "stranger")}
    await api.report("owner", **SMALL, surge24h=4, surge72h=20, marks=[
        {"measure": "OCCUPIED", "mark": "IMPUTED"}, {"measure": "BLOCKED", "mark": "SUPPRESSED"},
    ])  # fmt: skip
    return ids


async def agree(api: Api, houses: dict[str, str], **more: Any) -> str:
    """An agreement by which the owner shows the partner its counts, accepted; its id."""
    usual = {"receiver": houses["partner"], "detail": "COUNTS", "until": UNTIL}
    made = await api.done("owner", "proposeAgreement", AGREEMENT, **(usual | more))
    id: str = made["agreement"]["id"]  # noqa: A001
    await api.done("partner", "acceptAgreement", AGREEMENT, agreement=id)
    return id


async def seen(api: Api, who: str, of: str, resource: str | None = None) -> dict[str, Any]:
    """The newest report of an institution as `who` sees it."""
    found = await api.ask(who, REPORTS, of=of, resource=resource)
    node: dict[str, Any] = found["capacityReports"]["nodes"][0]
    return node


async def sees_exactly(api: Api, who: str, of: str) -> bool:
    """Whether `who` sees the owner's numbers as they are; checks that it sees none of the small ones otherwise."""
    node = await seen(api, who, of)
    exact: bool = node["free"] == 3
    assert (node["withheld"] == []) == exact
    if not exact:
        assert [node[name] for name in ("staffed", "free", "waiting", "blocked", "need", "surge24h")] == [None] * 6
    return exact


async def test_a_stranger_is_told_ranges_and_the_large_numbers_and_marks_of_neither(
    api: Api, houses: dict[str, str]
) -> None:
    node = await seen(api, "stranger", houses["owner"])
    assert (node["occupied"], node["marks"]) == (15, [{"measure": "OCCUPIED", "mark": "IMPUTED"}])
    told = {one["count"]: (one["atLeast"], one["atMost"]) for one in node["withheld"]}
    assert told == {
        "STAFFED": (17, 35), "BLOCKED": (1, 10), "FREE": (1, 10), "WAITING": (1, 10), "NEED": (16, 25),
        "SURGE_24H": (1, 10), "SURGE_72H": (17, 26),
    }  # fmt: skip


async def test_the_owner_allocators_and_regulators_see_every_count_and_admins_see_none(
    api: Api, houses: dict[str, str]
) -> None:
    for who in ("owner", "planner", "regulator"):
        assert await sees_exactly(api, who, houses["owner"])
    for who in ("partner", "stranger"):
        assert not await sees_exactly(api, who, houses["owner"])
    refused = await api.send("admin", REPORTS, {"of": houses["owner"]})
    assert refused.error["extensions"]["code"] == "FORBIDDEN"


async def test_an_agreement_shows_the_partner_exact_counts_from_acceptance_until_its_end_and_nobody_else(
    api: Api, houses: dict[str, str]
) -> None:
    made = await api.done(
        "owner", "proposeAgreement", AGREEMENT, receiver=houses["partner"], until=UNTIL,
        startsAt=text(NOON + timedelta(hours=2)),
    )  # fmt: skip
    assert (made["agreement"]["giverId"], made["agreement"]["detail"]) == (houses["owner"], "COUNTS")
    assert not await sees_exactly(api, "partner", houses["owner"])
    await api.done("partner", "acceptAgreement", agreement=made["agreement"]["id"])
    assert not await sees_exactly(api, "partner", houses["owner"])
    api.at = NOON + timedelta(hours=2)
    assert await sees_exactly(api, "partner", houses["owner"])
    assert not await sees_exactly(api, "stranger", houses["owner"])
    api.at = NOON + timedelta(days=10)
    assert not await sees_exactly(api, "partner", houses["owner"])


async def test_it_shows_only_the_resource_it_names_and_only_one_way(api: Api, houses: dict[str, str]) -> None:
    await agree(api, houses, resource="ventilator")
    await api.report("owner", staffed=9, occupied=4, resource="ventilator")
    await api.report("partner", staffed=9, occupied=4)
    assert (await seen(api, "partner", houses["owner"], "ventilator"))["occupied"] == 4
    assert (await seen(api, "partner", houses["owner"], BEDS))["free"] is None
    assert (await seen(api, "owner", houses["partner"]))["occupied"] is None
    mixed = await api.ask("partner", REPORTS)
    assert [node["occupied"] for node in mixed["capacityReports"]["nodes"]] == [4, 4, 15]
    assert [bool(node["withheld"]) for node in mixed["capacityReports"]["nodes"]] == [False, False, True]


@pytest.mark.parametrize("who", ["owner", "partner"])
async def test_either_side_ends_it_at_once_and_for_ever(api: Api, houses: dict[str, str], who: str) -> None:
    agreement = await agree(api, houses)
    assert await sees_exactly(api, "partner", houses["owner"])
    ended = await api.done(who, "endAgreement", AGREEMENT, agreement=agreement)
    assert ended["agreement"]["endedAt"] == text(NOON)
    assert not await sees_exactly(api, "partner", houses["owner"])
    again = await api.do("partner", "acceptAgreement", agreement=agreement)
    assert again.refusal == ("CONFLICT", "Conflict", None)


async def test_nobody_takes_sight_that_was_not_offered_to_it(api: Api, houses: dict[str, str]) -> None:
    made = await api.done("owner", "proposeAgreement", AGREEMENT, receiver=houses["partner"], until=UNTIL)
    agreement = made["agreement"]["id"]
    for who, name, asked in (
        ("stranger", "acceptAgreement", {"agreement": agreement}),
        ("owner", "acceptAgreement", {"agreement": agreement}),
        ("planner", "acceptAgreement", {"agreement": agreement}),
        ("stranger", "endAgreement", {"agreement": agreement}),
        ("partner", "proposeAgreement", {
            "institution": houses["owner"], "receiver": houses["partner"], "until": UNTIL,
        }),
    ):  # fmt: skip
        refused = await api.do(who, name, **asked)
        assert refused.error["extensions"]["code"] == "FORBIDDEN", (who, name)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"receiver": "00000000-0000-7000-8000-000000000000"}, "receiver"),
        ({"until": text(NOON + timedelta(days=367))}, "until"),
        ({"until": text(NOON)}, "until"),
        ({"startsAt": text(NOON - timedelta(hours=1))}, "startsAt"),
        ({"resource": "no.such"}, "resource"),
    ],
)
async def test_an_agreement_that_cannot_be_is_refused_and_says_what_is_wrong(
    api: Api, houses: dict[str, str], asked: dict[str, str], field: str
) -> None:
    usual = {"receiver": houses["partner"], "until": UNTIL}
    refused = await api.do("owner", "proposeAgreement", **(usual | asked))
    assert refused.refusal[2] == f"input.{field}"


async def test_nobody_agrees_with_itself(api: Api, houses: dict[str, str]) -> None:
    refused = await api.do("owner", "proposeAgreement", receiver=houses["owner"], until=UNTIL)
    assert refused.refusal == ("INVALID", "Invalid", "input.receiver")


async def test_agreements_are_listed_to_their_two_sides_and_to_the_regulator(
    api: Api, houses: dict[str, str]
) -> None:
    query = """query ($party: UUID, $now: Boolean! = false) {
      agreements(party: $party, onlyInForce: $now) { nodes { giver { code } receiver { code } detail } } }"""
    await agree(api, houses)
    line = {"giver": {"code": "owner"}, "receiver": {"code": "partner"}, "detail": "COUNTS"}
    for who in ("owner", "partner", "regulator"):
        assert (await api.ask(who, query, now=True))["agreements"]["nodes"] == [line]
    assert (await api.ask("stranger", query))["agreements"]["nodes"] == []
    refused = await api.send("stranger", query, {"party": houses["owner"]})
    assert refused.error["extensions"]["code"] == "FORBIDDEN"
    api.at = NOON + timedelta(days=11)
    assert (await api.ask("owner", query, now=True))["agreements"]["nodes"] == []
    assert (await api.ask("owner", query))["agreements"]["nodes"] == [line]


async def test_whoever_asks_for_exact_counts_gets_them_or_a_refusal(api: Api, houses: dict[str, str]) -> None:
    asked = {"of": houses["owner"], "exact": True}
    await agree(api, houses, resource=BEDS)
    for who, more in (("owner", {}), ("planner", {}), ("partner", {"resource": BEDS})):
        found = await api.ask(who, REPORTS, **asked, **more)
        assert found["capacityReports"]["nodes"][0]["free"] == 3
    for who in ("partner", "stranger"):
        refused = await api.send(who, REPORTS, asked)
        assert refused.error["extensions"]["code"] == "FORBIDDEN"
        assert "by a sharing agreement in force" in refused.error["message"]


async def test_each_exact_reading_of_anothers_counts_is_on_record_for_it(
    api: Api, houses: dict[str, str], owner: Any
) -> None:
    await agree(api, houses)
    await api.report("partner", staffed=30, occupied=15)
    await api.ask("partner", REPORTS)
    await api.ask("stranger", REPORTS)
    rows = await owner.fetch(
        "select actor, institution, convert_from(e.body, 'UTF8')::jsonb as said from audit.entry e"
        "  join audit.decision d using (staged_id) where kind = 'data.read' and action = 'viewExactCapacity'"
    )
    ((actor, institution, said),) = [tuple(row) for row in rows]
    assert (actor, str(institution)) == ("partner-client", houses["owner"])
    assert houses["partner"] in said
    assert '"shared_with"' in said


async def test_what_an_agreement_decides_can_be_asked_again_from_the_entry(
    api: Api, houses: dict[str, str], owner: Any
) -> None:
    from sharewell.authz import Authorizer  # noqa: PLC0415
    from sharewell.domain.audit import parse_entry  # noqa: PLC0415
    from sharewell.domain.inquiry import Inquiry  # noqa: PLC0415

    await agree(api, houses)
    await seen(api, "partner", houses["owner"])
    body = await owner.fetchval(
        "select e.body from audit.entry e join audit.decision d using (staged_id) where action = 'viewExactCapacity'"
    )
    inquiry = Inquiry.of(parse_entry(body))
    assert inquiry is not None
    ruling = Authorizer.load().ask(inquiry.caller, inquiry.action, inquiry.target, inquiry.context)
    assert (ruling.allowed, ruling.policies) == (True, ("see-agreed-counts",))


async def test_a_region_adds_up_for_each_reader_what_that_reader_sees(api: Api, houses: dict[str, str]) -> None:
    await api.report("partner", staffed=30, occupied=12, waiting=0)
    await api.report("partner", staffed=40, occupied=12, resource="ventilator")
    async def total(who: str) -> dict[str, Any]:
        found = await api.ask(who, REGION, resource=BEDS)
        (line,) = found["regionCapacity"]
        return {name: tuple(line[name].values()) for name in ("staffed", "occupied", "free", "waiting")}

    exact = {"staffed": (50,) * 3, "occupied": (27,) * 3, "free": (21,) * 3, "waiting": (3,) * 3}
    veiled = {"staffed": (None, 47, 65), "occupied": (27,) * 3, "free": (None, 19, 28), "waiting": (None, 1, 10)}
    for who in ("owner", "planner", "regulator"):
        assert await total(who) == exact
    for who in ("partner", "stranger"):
        assert await total(who) == veiled
    await agree(api, houses)
    assert await total("partner") == exact
    assert await total("stranger") == veiled
    assert [line["resource"] for line in (await api.ask("planner", REGION))["regionCapacity"]] == [BEDS, "ventilator"]


async def test_a_report_that_was_corrected_does_not_count_in_a_region(api: Api, houses: dict[str, str]) -> None:
    first = await api.report("partner", staffed=100, occupied=50)
    await api.report("partner", staffed=30, occupied=15, corrects=first["reports"][0]["id"])
    (line,) = (await api.ask("planner", REGION))["regionCapacity"]
    assert (line["institutions"], line["staffed"]["exact"]) == (2, 50)


async def test_a_reason_tells_the_receiver_nothing_of_what_its_giver_has(api: Api) -> None:
    transfer = await api.held_transfer()
    query = "query ($id: UUID!) { transfer(id: $id) { reason } transfers { nodes { id reason } } }"
    for who in ("giver", "planner", "regulator"):
        found = await api.ask(who, query, id=transfer)
        assert "the owner keeps the 5 it must and could spare 6." in found["transfer"]["reason"]
    await api.done("giver", "confirmTransfer", transfer=transfer)
    await api.done("giver", "dispatchTransfer", transfer=transfer)
    found = await api.ask("receiver", query, id=transfer)
    received = await api.done("receiver", "receiveTransfer", "transfer { reason }", transfer=transfer)
    for told in (found["transfer"], *found["transfers"]["nodes"], received["transfer"]):
        assert told["reason"].startswith("4 units over 11.1 km lift this request of urgency 3 from 0 % to 100 %")
        assert told["reason"].endswith("of its need.")


async def test_whoever_gathers_every_answer_over_time_narrows_no_withheld_count(
    api: Api, houses: dict[str, str]
) -> None:
    """The stranger, told everything by the partner, reads lists and totals before and after each report."""
    del houses
    adversary, newest = Adversary(), dict[tuple[str, str], str]()
    withheld: dict[tuple[str, str], tuple[int, int]] = {}

    async def gather(who: str) -> None:
        found = await api.ask(who, GATHERED, first=50)
        for page in (found, await api.ask(who, GATHERED, first=1)):
            for node in page["capacityReports"]["nodes"]:
                hidden = {one["count"].lower(): (one["atLeast"], one["atMost"]) for one in node["withheld"]}
                adversary.reads(node["id"], {name: node[said] for said, name in NUMBERS.items()}, hidden)
                withheld.update({(node["id"], name): ends for name, ends in hidden.items()})
        for line in found["regionCapacity"]:
            reports = [id for (_, resource), id in newest.items() if resource == line["resource"]]  # noqa: A001
            for name in ("staffed", "occupied", "blocked", "free", "waiting"):
                adversary.reads_total(name, (line[name]["atLeast"], line[name]["atMost"]), reports)

    first = await api.ask("owner", "{ capacityReports { nodes { id } } }")
    oldest = newest["owner", BEDS] = first["capacityReports"]["nodes"][0]["id"]
    for who, resource, numbers in (
        ("partner", BEDS, {"staffed": 12, "occupied": 5, "waiting": 2}),
        ("stranger", BEDS, {"staffed": 40, "occupied": 33}),
        ("owner", BEDS, {"staffed": 20, "occupied": 16, "blocked": 2}), ("owner", "ventilator", {"occupied": 3}),
        ("partner", BEDS, {"staffed": 12, "occupied": 0, "blocked": 0, "waiting": 11}),
    ):  # fmt: skip
        api.at += timedelta(minutes=1)
        made = await api.done(
            who, "reportCapacity", "reports { id }",
            reports=[{"resource": resource, "asOf": text(api.at), **numbers}],
        )  # fmt: skip
        newest[who, resource] = made["reports"][0]["id"]
        for reader in ("stranger", "partner"):
            await gather(reader)
    owners = {oldest, newest["owner", BEDS], newest["owner", "ventilator"]}
    of_the_owner = {key: ends for key, ends in withheld.items() if key[0] in owners}
    assert len(of_the_owner) > 8
    for (report, name), ends in of_the_owner.items():
        assert adversary.concludes(report, name) == ends, name
