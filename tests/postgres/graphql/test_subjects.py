"""On whose behalf: sealed in the entry, opened by regulators, erased by a ground of law, and no proof changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.postgres.graphql.conftest import Api

from sharewell.audit.erasure import KEY_FILE, KeyFile, Vault, Wrapped
from sharewell.audit.keys import LogKey
from sharewell.audit.reconcile import reconcile
from sharewell.audit.seal import Sequencer
from sharewell.domain.bundle import parse_bundle, verify_bundle
from sharewell.domain.subjects import Ground
from sharewell.settings import DatabaseRole
from sharewell.wiring import operator
from sharewell_workers.jobs import Job
from sharewell_workers.retain import retain

if TYPE_CHECKING:
    from tests.conftest import Pool

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
NURSE = {"identifier": "staff-4711", "name": "Ayşe Ünal", "email": "a.unal@clinic.example"}
OPENED = "query ($id: UUID!) { decision(id: $id) { onBehalfOf { subject identifier name email erased } } }"
FIND = """
query ($person: String!, $of: UUID) { dataSubject(identifier: $person, institution: $of) { subject keepUntil } }
"""
BUNDLE = "query ($id: UUID!) { decision(id: $id) { bundle } }"
RETAIN = Job(id=9, name="retain", payload={}, request_id="r-9", attempt=1)


async def pledged(api: Api, who: str = "clinic", person: Mapping[str, str] | None = NURSE, **more: Any) -> str:
    """The decision of an offer published on behalf of a person."""
    done = await api.done(who, "publishOffer", **api.pledge_of(1, **more), onBehalfOf=person)
    id: str = done["decision"]["id"]  # noqa: A001
    return id


async def clinic(api: Api, code: str = "clinic") -> str:
    id = await api.institution(code)  # noqa: A001
    await api.report(code, staffed=50, occupied=5)
    return id


async def opened(api: Api, decision: str) -> Any:
    return (await api.ask("regulator", OPENED, id=decision))["decision"]["onBehalfOf"]


async def test_a_regulator_opens_what_an_integrator_gave_and_nobody_else_does(api: Api, owner: Any) -> None:
    await clinic(api)
    decision = await pledged(api)
    found = await opened(api, decision)
    assert {name: found[name] for name in NURSE} == NURSE
    assert found["erased"] is False
    refused = await api.send("clinic", OPENED, {"id": decision})
    assert refused.error["extensions"]["code"] == "FORBIDDEN"
    assert refused.body["data"]["decision"]["onBehalfOf"] is None
    everything = await owner.fetch("select body from audit.entry")
    assert everything
    for detail in NURSE.values():
        assert not any(detail.encode() in row["body"] for row in everything)


async def test_who_was_refused_is_sealed_too(api: Api) -> None:
    home = await clinic(api)
    await clinic(api, "other")
    refused = await api.do("other", "publishOffer", **api.pledge_of(1), institution=home, onBehalfOf=NURSE)
    assert refused.error["extensions"]["code"] == "FORBIDDEN"
    found = await api.ask("regulator", '{ decisions(kind: "access.refused") { nodes { id } } }')
    (node,) = found["decisions"]["nodes"]
    assert (await opened(api, node["id"]))["identifier"] == "staff-4711"


async def test_each_opening_is_on_record_and_the_institution_finds_it(api: Api) -> None:
    await clinic(api)
    decision = await pledged(api)
    subject = (await opened(api, decision))["subject"]
    asked = '{ decisions(kind: "subject.opened") { nodes { actor subjectId } } }'
    found = await api.ask("clinic", asked)
    assert found["decisions"]["nodes"] == [{"actor": "regulator", "subjectId": subject}]


async def test_a_decision_on_nobodys_behalf_has_nobody(api: Api, owner: Any) -> None:
    await clinic(api)
    assert await opened(api, await pledged(api, person=None)) is None
    assert await owner.fetchval("select count(*) from erasable.subject_key") == 0


async def test_the_same_person_has_one_reference_and_another_institutions_has_another(api: Api) -> None:
    await clinic(api)
    await clinic(api, "other")
    mine = [(await opened(api, await pledged(api)))["subject"] for _ in range(2)]
    theirs = (await opened(api, await pledged(api, "other")))["subject"]
    assert mine[0] == mine[1] != theirs


async def test_two_first_acts_at_once_make_one_key(api: Api, owner: Any) -> None:
    await clinic(api)
    await asyncio.gather(*(pledged(api) for _ in range(5)))
    assert await owner.fetchval("select count(*) from erasable.subject_key") == 1


async def test_every_mutation_takes_a_person(api: Api) -> None:
    asked = "{ __schema { mutationType { fields { name args { type { ofType { inputFields { name } } } } } } } }"
    found = await api.ask("admin", asked)
    for each in found["__schema"]["mutationType"]["fields"]:
        (argument,) = each["args"]
        names = [one["name"] for one in argument["type"]["ofType"]["inputFields"]]
        assert {"idempotencyKey", "onBehalfOf"} <= set(names), each["name"]


async def test_erasure_leaves_every_proof_as_it_was_and_opens_to_nobody(
    api: Api, sequencer_pool: Pool, owner: Any
) -> None:
    home = await clinic(api)
    decision, colleagues = await pledged(api), await pledged(api, person={"identifier": "staff-12"})
    await Sequencer(sequencer_pool, KEY).seal()
    before = (await api.ask("regulator", BUNDLE, id=decision))["decision"]["bundle"].encode()
    subject = (await api.ask("clinic", FIND, person="staff-4711"))["dataSubject"]["subject"]
    erased = await api.done("clinic", "eraseSubject", "subject decision { id }", subject=subject, ground="OBJECTION")
    assert erased["subject"] == subject
    found = await opened(api, decision)
    assert found == {
        "subject": subject, "identifier": "[erased]", "name": "[erased]", "email": "[erased]", "erased": True,
    }  # fmt: skip
    assert (await opened(api, colleagues))["identifier"] == "staff-12"
    await Sequencer(sequencer_pool, KEY).seal()
    after = (await api.ask("regulator", BUNDLE, id=decision))["decision"]["bundle"].encode()
    assert verify_bundle(before, KEY.vkey).decision == verify_bundle(after, KEY.vkey).decision
    assert parse_bundle(before).entry == parse_bundle(after).entry
    # The erasure itself is proven, with its ground.
    proof = (await api.ask("regulator", BUNDLE, id=erased["decision"]["id"]))["decision"]["bundle"].encode()
    said = verify_bundle(proof, KEY.vkey).decision
    assert (said.kind, said.subject_id, said.institution) == ("subject.erased", subject, UUID(home))
    assert said.details == {"ground": "objection", "article": "17(1)(c)", "asked": said.details["asked"]}
    assert (await reconcile(owner)).problems == {}


async def test_an_erased_person_who_acts_again_is_somebody_new(api: Api) -> None:
    await clinic(api)
    first = (await opened(api, await pledged(api)))["subject"]
    await api.done("admin", "eraseSubject", subject=first, ground="LEGAL_OBLIGATION")
    assert (await api.ask("clinic", FIND, person="staff-4711"))["dataSubject"] is None
    assert (await opened(api, await pledged(api)))["subject"] != first


async def test_an_erasure_asked_for_again_is_answered_again_and_not_done_twice(api: Api) -> None:
    await clinic(api)
    subject = (await opened(api, await pledged(api)))["subject"]
    asked = {"idempotencyKey": "erase", "subject": subject, "ground": "OBJECTION"}
    first = await api.done("clinic", "eraseSubject", **asked)
    assert await api.done("clinic", "eraseSubject", **asked) == first
    again = await api.do("admin", "eraseSubject", subject=subject, ground="OBJECTION")
    assert again.error["extensions"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("who", ["other", "planner", "regulator", "nobody"])
async def test_only_its_institution_and_an_admin_erase_a_person(api: Api, owner: Any, who: str) -> None:
    await clinic(api)
    await clinic(api, "other")
    subject = (await opened(api, await pledged(api)))["subject"]
    refused = await api.do(who, "eraseSubject", subject=subject, ground="OBJECTION")
    assert refused.error["extensions"]["code"] == "FORBIDDEN"
    assert await owner.fetchval("select count(*) from erasable.subject_key") == 1


async def test_a_ground_that_is_none_is_refused(api: Api) -> None:
    refused = await api.do("admin", "eraseSubject", subject=str(UUID(int=1)), ground="BECAUSE")
    assert refused.error["extensions"]["code"] == "INVALID"


async def test_what_a_person_typed_goes_with_the_person(api: Api, owner: Any) -> None:
    transfer = await api.held_transfer()
    asked = {"transfer": transfer, "reason": "OWN_NEED_ROSE", "remark": "Call Ayşe about it"}
    await api.done("giver", "declineTransfer", **asked, onBehalfOf=NURSE)
    giver = str(api.callers["giver"].institution)
    assert await owner.fetchval("select body from sharewell.remark") == "Call Ayşe about it"
    subject = (await api.ask("admin", FIND, person="staff-4711", of=giver))["dataSubject"]["subject"]
    await api.done("admin", "eraseSubject", subject=subject, ground="CONSENT_WITHDRAWN")
    assert await owner.fetchval("select count(*) from sharewell.remark") == 0


async def test_a_remark_of_nobody_known_is_removed_with_an_entry(api: Api, owner: Any) -> None:
    transfer = await api.held_transfer()
    asked = {"transfer": transfer, "reason": "OWN_NEED_ROSE", "remark": "Call Ayşe about it"}
    done = await api.done("giver", "declineTransfer", **asked)
    decision = UUID(done["decision"]["id"])
    made = await api.people.subjects.erase_remark(operator(), decision, Ground.OBJECTION)
    assert await owner.fetchval("select count(*) from sharewell.remark") == 0
    kind = await owner.fetchval("select kind from audit.decision where id = $1", made)
    assert kind == "remark.erased"


async def test_nothing_outside_of_the_entry_and_the_key_remembers_a_person(api: Api, owner: Any) -> None:
    """What would survive an erasure is looked for in every table: the details, and hashes that confirm a guess."""
    await clinic(api)
    await pledged(api)
    tables = await owner.fetch(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables"
        " where schemaname in ('sharewell', 'audit', 'oauth', 'queue', 'erasable')"
    )
    for table in tables:
        for row in await owner.fetch(f"select t::text as all from {table['name']} t"):
            for detail in NURSE.values():
                assert detail not in row["all"], table["name"]
                assert detail.encode().hex() not in row["all"], table["name"]
    one, other = {**api.pledge_of(1), "idempotencyKey": "k"}, {"identifier": "staff-12"}
    first = await api.done("clinic", "publishOffer", **one, onBehalfOf=NURSE)
    assert await api.done("clinic", "publishOffer", **one, onBehalfOf=other) == first


# --- retention ----------------------------------------------------------------------------------------------------


async def test_a_persons_time_is_over_three_years_after_its_last_act(api: Api, owner: Any) -> None:
    await clinic(api)
    decision = await pledged(api)
    api.at += timedelta(days=1000)
    await pledged(api)
    api.at += timedelta(days=1094)
    await retain(RETAIN, api.workers)
    assert (await opened(api, decision))["identifier"] == "staff-4711"
    api.at += timedelta(days=1)
    await retain(RETAIN, api.workers)
    assert (await opened(api, decision))["erased"] is True
    (entry,) = await owner.fetch("select actor, action from audit.decision where kind = 'subject.erased'")
    assert tuple(entry) == ("retain", "eraseSubject")
    assert (await reconcile(owner)).problems == {}


# --- the key-encryption key ---------------------------------------------------------------------------------------


async def test_a_rotation_wraps_every_key_anew_and_changes_no_entry(api: Api, owner: Any) -> None:
    await clinic(api)
    decisions = [await pledged(api, person={"identifier": f"staff-{n}"}) for n in range(3)]
    stored = "select staged_id, leaf_hash, body from audit.entry order by 1"
    entries = await owner.fetch(stored)
    file = KeyFile(api.people.settings.home / KEY_FILE)
    (old,) = file.ids()
    new = file.add()
    assert await api.people.subjects.rewrap(operator()) == 3
    assert await api.people.subjects.keks() == [new]
    file.drop(old)
    assert (await owner.fetch(stored))[: len(entries)] == entries
    for n, decision in enumerate(decisions):
        assert (await opened(api, decision))["identifier"] == f"staff-{n}"
    assert (await api.ask("clinic", FIND, person="staff-1"))["dataSubject"]


async def test_without_the_key_encryption_key_nothing_is_opened_or_done_and_no_detail_is_told(api: Api) -> None:
    await clinic(api)
    decision = await pledged(api)
    file = api.people.settings.home / KEY_FILE
    kept = file.read_text()
    file.write_text("")
    assert (await api.send("regulator", OPENED, {"id": decision})).status == 503
    refused = await api.do("clinic", "publishOffer", **api.pledge_of(1), onBehalfOf=NURSE)
    assert refused.status == 503
    file.write_text(kept)
    assert (await opened(api, decision))["name"] == "Ayşe Ünal"


class Service:
    """A key management service as seen from here: it wraps and unwraps, and keeps what it wraps with to itself."""

    def __init__(self) -> None:
        self.keys = [AESGCM(AESGCM.generate_key(256))]

    async def current(self) -> str:
        return f"service/{len(self.keys)}"

    async def wrap(self, key: bytes, context: bytes) -> Wrapped:
        return Wrapped(await self.current(), self.keys[-1].encrypt(bytes(12), key, context))

    async def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        return self.keys[int(wrapped.kek_id.rpartition("/")[2]) - 1].decrypt(bytes(12), wrapped.data, context)


async def test_a_key_management_service_takes_the_files_place(api: Api) -> None:
    await clinic(api)
    service = Service()
    api.people.office.vault = Vault(service, timedelta(days=1))
    decision = await pledged(api)
    service.keys.append(AESGCM(AESGCM.generate_key(256)))
    assert await api.people.subjects.rewrap(operator()) == 1
    assert await api.people.subjects.keks() == ["service/2"]
    assert (await opened(api, decision))["name"] == "Ayşe Ünal"
    assert not (api.people.settings.home / KEY_FILE).exists()


# --- the database -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [DatabaseRole.GATEWAY, DatabaseRole.WORKER, DatabaseRole.MIGRATOR])
async def test_no_role_deletes_a_key_without_the_entry_of_the_erasure(
    api: Api, connect: Any, role: DatabaseRole
) -> None:
    await clinic(api)
    await pledged(api)
    conn = await connect(role)
    with pytest.raises(asyncpg.PostgresError, match="without the entry of the erasure"):
        await conn.execute("delete from erasable.subject_key")
