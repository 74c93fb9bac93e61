"""Surge mode shortens approvals, once the log has signed it and no longer than it says, and never the record."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sharewell.audit.keys import LogKey
from sharewell.audit.reconcile import reconcile
from sharewell.audit.seal import Sequencer
from sharewell.domain.bundle import report, verify_bundle

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.conftest import Connection
    from tests.postgres.graphql.conftest import Api

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
SURGE = """id region resource reason remark until signed inForce renewsId client endedAt ending decisionId endedById"""
HELD = "{ transfers { nodes { id state holdUntil giver { code } steps { state decisionId } } } }"


def text(at: Any) -> str:
    return str(at.isoformat()).replace("+00:00", "Z")


class Log:
    """The sequencer, run when the test says."""

    def __init__(self, pool: Pool) -> None:
        self._sequencer = Sequencer(pool, KEY)

    async def seal(self) -> None:
        # An entry is passed over while any older transaction still runs; one more look finds it.
        while (await self._sequencer.seal()).entries:
            await asyncio.sleep(0)


@pytest.fixture
def log(sequencer_pool: Pool) -> Log:
    return Log(sequencer_pool)


async def declared(api: Api, hours: float = 24, **more: Any) -> dict[str, Any]:
    usual = {"region": "us-nj", "resource": "bed.adult", "reason": "EPIDEMIC_PEAK",
             "until": text(api.at + timedelta(hours=hours))}  # fmt: skip
    made = await api.done("planner", "declareSurge", f"surge {{ {SURGE} }} decision {{ id }}", **(usual | more))
    surge: dict[str, Any] = made["surge"]
    return surge


async def current(api: Api) -> list[dict[str, Any]]:
    found = await api.ask("giver", f"{{ surgeModes(onlyCurrent: true) {{ nodes {{ {SURGE} }} }} }}")
    nodes: list[dict[str, Any]] = found["surgeModes"]["nodes"]
    return nodes


async def market(api: Api) -> None:
    """A giver that consents, one that does not, and a receiver that needs both."""
    for name, latitude in (("giver", 40.0), ("careful", 40.05)):
        await api.institution(name, latitude=latitude)
        await api.report(name, staffed=20, occupied=5)
        await api.done(name, "publishOffer", **api.pledge_of(6))
    await api.institution("receiver", latitude=40.1)
    await api.report("receiver", staffed=5, occupied=5, waiting=10)
    await api.done("receiver", "openRequest", **api.need_of(10))


async def consents(api: Api, who: str = "giver", **more: Any) -> str:
    usual = {"resource": "bed.adult", "until": text(api.at + timedelta(days=30))}
    made = await api.done(who, "giveConsent", "consent { id } decision { id }", **(usual | more))
    id: str = made["consent"]["id"]  # noqa: A001
    return id


async def states(api: Api) -> dict[str, tuple[str, str]]:
    found = await api.ask("planner", HELD)
    return {one["giver"]["code"]: (one["state"], one["holdUntil"]) for one in found["transfers"]["nodes"]}


async def test_a_declaration_has_no_force_before_the_log_has_signed_it(api: Api, log: Log) -> None:
    await market(api)
    surge = await declared(api, remark="Wards are full.")
    assert surge | {"id": 0, "decisionId": 0} == {
        "id": 0, "region": "us-nj", "resource": "bed.adult", "reason": "EPIDEMIC_PEAK", "remark": "Wards are full.",
        "until": "2026-03-02T12:00:00Z", "signed": False, "inForce": False, "renewsId": None, "client": "planner",
        "endedAt": None, "ending": None, "decisionId": 0, "endedById": None,
    }  # fmt: skip
    await consents(api)
    await api.allocate()
    assert await states(api) == {
        "giver": ("HELD", "2026-03-02T12:00:00Z"), "careful": ("HELD", "2026-03-02T12:00:00Z"),
    }  # fmt: skip
    await log.seal()
    (found,) = await current(api)
    assert (found["signed"], found["inForce"]) == (True, True)


async def test_in_force_it_shortens_holds_and_confirms_for_those_that_consented(
    api: Api, log: Log, migrator_pool: Pool
) -> None:
    await market(api)
    consent, surge = await consents(api), await declared(api)
    await log.seal()
    await api.allocate()
    assert await states(api) == {
        "giver": ("CONFIRMED", "2026-03-01T14:00:00Z"), "careful": ("HELD", "2026-03-01T14:00:00Z"),
    }  # fmt: skip
    entries = {
        row["kind"]: json.loads(row["body"]) for row in await migrator_pool.fetch(
            "select kind, body from audit.decision join audit.entry using (staged_id)"
            " where kind in ('plan.adopted', 'transfer.confirmed')"
        )
    }  # fmt: skip
    assert entries["plan.adopted"]["details"]["surge"] == surge["id"]
    confirmed = entries["transfer.confirmed"]
    assert (confirmed["details"]["surge"], confirmed["details"]["consent"]) == (surge["id"], consent)
    assert (confirmed["actor"], confirmed["action"]) == ("allocate", "confirmByConsent")
    assert confirmed["policies"] == ["consent-confirms"]
    found = await api.ask("giver", HELD)
    assert [step["state"] for step in found["transfers"]["nodes"][0]["steps"]] == ["PROPOSED", "HELD", "CONFIRMED"]


async def test_what_was_confirmed_by_consent_can_still_be_declined(api: Api, log: Log) -> None:
    await market(api)
    await consents(api)
    await declared(api)
    await log.seal()
    await api.allocate()
    (transfer,) = (await api.ask("giver", HELD))["transfers"]["nodes"]
    made = await api.done(
        "giver", "declineTransfer", "transfer { state }", transfer=transfer["id"], reason="OWN_NEED_ROSE"
    )
    assert made == {"transfer": {"state": "DECLINED"}}


@pytest.mark.parametrize("how", ["withdrawn", "over", "another resource"])
async def test_a_consent_that_does_not_stand_confirms_nothing(api: Api, log: Log, how: str) -> None:
    await market(api)
    match how:
        case "withdrawn":
            await api.done("giver", "withdrawConsent", consent=await consents(api))
        case "over":
            await consents(api, until=text(api.at + timedelta(minutes=1)))
            api.at += timedelta(minutes=1)
        case _:
            await consents(api, resource="ventilator")
    await declared(api)
    await log.seal()
    await api.allocate()
    assert (await states(api))["giver"][0] == "HELD"


async def test_without_surge_mode_a_consent_confirms_nothing(api: Api, log: Log) -> None:
    await market(api)
    await consents(api)
    await declared(api, resource="ventilator")
    await declared(api, region="us-ny")
    await log.seal()
    await api.allocate()
    assert await states(api) == {
        "giver": ("HELD", "2026-03-02T12:00:00Z"), "careful": ("HELD", "2026-03-02T12:00:00Z"),
    }  # fmt: skip


async def test_it_holds_for_every_resource_where_none_is_named(api: Api, log: Log) -> None:
    await market(api)
    await declared(api, resource=None)
    await log.seal()
    await api.allocate()
    assert (await states(api))["giver"] == ("HELD", "2026-03-01T14:00:00Z")


async def test_it_ends_by_itself_at_its_very_instant_and_the_end_is_recorded_once(
    api: Api, log: Log, migrator_pool: Pool
) -> None:
    await market(api)
    await declared(api, hours=3)
    await log.seal()
    api.at += timedelta(hours=3)
    await api.allocate()
    assert (await states(api))["giver"] == ("HELD", text(api.at + timedelta(hours=24)))
    assert await current(api) == []
    for _ in range(2):
        await api.expire()
    found = await api.ask("planner", "{ surgeModes { nodes { ending endedAt endedById inForce } } }")
    (ended,) = found["surgeModes"]["nodes"]
    assert (ended["ending"], ended["endedAt"], ended["inForce"]) == ("EXPIRED", text(api.at), False)
    rows = await migrator_pool.fetch("select id::text, actor from audit.decision where kind = 'surge.expired'")
    assert [tuple(row) for row in rows] == [(ended["endedById"], "expire")]


async def test_it_is_ended_early_and_not_twice(api: Api, log: Log) -> None:
    await market(api)
    surge = await declared(api)
    await log.seal()
    made = await api.done("admin", "endSurge", f"surge {{ {SURGE} }} decision {{ id }}", surge=surge["id"])
    assert (made["surge"]["ending"], made["surge"]["inForce"]) == ("ENDED", False)
    assert made["surge"]["endedById"] == made["decision"]["id"]
    assert (await api.do("planner", "endSurge", surge=surge["id"])).refusal[:2] == ("CONFLICT", "Conflict")
    await api.allocate()
    assert (await states(api))["giver"][0] == "HELD"
    assert (await states(api))["giver"][1] == text(api.at + timedelta(hours=24))


async def test_a_renewed_mode_lasts_until_its_successor_is_signed(api: Api, log: Log) -> None:
    await market(api)
    await declared(api)
    await log.seal()
    await declared(api, hours=48)
    await api.allocate()
    assert (await states(api))["careful"] == ("HELD", text(api.at + timedelta(hours=2)))


async def test_a_second_declaration_takes_the_place_of_the_first(api: Api, log: Log) -> None:
    await api.institution("giver")
    first = await declared(api, hours=72)
    await log.seal()
    api.at += timedelta(hours=71)
    second = await declared(api, hours=72, reason="DISASTER")
    assert second["renewsId"] == first["id"]
    await log.seal()
    (found,) = await current(api)
    assert (found["id"], found["inForce"]) == (second["id"], True)
    history = await api.ask("planner", "{ surgeModes { nodes { id ending endedById } } }")
    assert history["surgeModes"]["nodes"][1] == {
        "id": first["id"], "ending": "RENEWED", "endedById": second["decisionId"],
    }  # fmt: skip


async def test_of_declarations_at_once_each_takes_the_place_of_another(api: Api, log: Log) -> None:
    await api.institution("giver")
    made = await asyncio.gather(*(declared(api) for _ in range(4)))
    assert len({one["renewsId"] for one in made}) == 4
    (found,) = await current(api)
    assert found["id"] not in {one["renewsId"] for one in made}


@pytest.mark.parametrize(("hours", "message"), [(72.01, "at most 72 hours"), (0, "must lie ahead"), (-1, "ahead")])
async def test_it_lasts_three_days_at_most(api: Api, hours: float, message: str) -> None:
    refused = await api.do(
        "planner", "declareSurge", region="us-nj", reason="DISASTER", until=text(api.at + timedelta(hours=hours))
    )
    assert refused.refusal == ("INVALID", "Invalid", "input.until")
    assert message in refused.error["message"]


@pytest.mark.parametrize("who", ["giver", "regulator", "admin", "nobody"])
async def test_only_allocators_declare_it(api: Api, who: str) -> None:
    await api.institution("giver")
    refused = await api.do(
        who, "declareSurge", region="us-nj", reason="DISASTER", until=text(api.at + timedelta(hours=1))
    )
    assert refused.refusal[0] == "FORBIDDEN"


async def test_a_reason_outside_of_the_list_declares_nothing(api: Api) -> None:
    refused = await api.do(
        "planner", "declareSurge", region="us-nj", reason="OTHER", until=text(api.at + timedelta(hours=1))
    )
    assert refused.refusal[0] == "INVALID"


async def test_the_signed_policy_is_proven_to_a_stranger(api: Api, log: Log) -> None:
    await api.institution("giver")
    surge = await declared(api, remark="Not for the log.")
    await log.seal()
    asked = "query ($id: UUID!) { decision(id: $id) { bundle } }"
    bundle = (await api.ask("regulator", asked, id=surge["decisionId"]))["decision"]["bundle"]
    verified = verify_bundle(bundle.encode(), KEY.vkey)
    assert any("surge mode for us-nj" in sentence for sentence in report(verified))
    details = verified.decision.details
    assert {name: details[name] for name in ("region", "resource", "reason", "renews", "hold_minutes")} == {
        "region": "us-nj", "resource": "bed.adult", "reason": "epidemic_peak", "renews": None, "hold_minutes": 120,
    }  # fmt: skip
    assert details["until"] == "2026-03-02T12:00:00+00:00"
    assert "Not for the log" not in bundle


async def test_every_write_in_surge_mode_has_its_entry(
    api: Api, log: Log, migrator_pool: Pool, owner: Connection
) -> None:
    async def entries() -> Counter[str]:
        found = await migrator_pool.fetch("select kind, count(*) from audit.decision group by kind")
        return Counter({row["kind"]: row["count"] for row in found})

    async def journey() -> dict[str, int]:
        """What is done, and by kind how many entries it left."""
        before = await entries()
        await api.report("receiver", staffed=5, occupied=5, waiting=4)
        await api.done("receiver", "openRequest", **api.need_of(4))
        await api.report("giver", staffed=20, occupied=5)
        await api.allocate()
        (held,) = (await api.ask("giver", "{ transfers(state: HELD) { nodes { id } } }"))["transfers"]["nodes"]
        for who, name in (("giver", "confirmTransfer"), ("giver", "dispatchTransfer"), ("receiver", "receiveTransfer")):
            await api.done(who, name, transfer=held["id"])
        refused = await api.do("receiver", "confirmTransfer", transfer=held["id"])
        assert refused.refusal[0] == "FORBIDDEN"
        await api.expire()
        return dict(await entries() - before)

    await api.institution("giver")
    await api.institution("receiver", latitude=40.1)
    await api.report("giver", staffed=20, occupied=5)
    await api.done("giver", "publishOffer", **api.pledge_of(8))
    usual = await journey()
    await declared(api)
    await log.seal()
    assert (await current(api))[0]["inForce"]
    assert await journey() == usual
    await log.seal()
    assert (await reconcile(owner)).problems == {}
