"""Persons are erased while others act on their behalf and the log is sealed: nobody waits, nothing is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.postgres.graphql.conftest import Api

from sharewell.audit.keys import LogKey
from sharewell.audit.proofs import bundle_of
from sharewell.audit.reconcile import reconcile
from sharewell.audit.seal import Sequencer
from sharewell.domain.bundle import verify_bundle
from sharewell.domain.subjects import Sealed
from sharewell.services import subjects
from sharewell_workers.jobs import Job
from sharewell_workers.retain import retain

if TYPE_CHECKING:
    import pytest
    from tests.conftest import Pool

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
JOB = Job(id=9, name="retain", payload={}, request_id="r-9", attempt=1)
PERSONS, ACTORS = 120, 4


async def test_persons_are_erased_while_others_act_and_the_log_goes_on(
    api: Api, owner: Any, sequencer_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "BATCH", 25)
    await api.institution("clinic")
    for number in range(PERSONS):
        await acted(api, number)
    keys = await owner.fetchval("select count(*) from erasable.subject_key")
    assert keys == PERSONS
    api.at += timedelta(days=1096)
    erasing, sequencer = True, Sequencer(sequencer_pool, KEY)

    async def act(start: int) -> int:
        done = 0
        while erasing or not done:
            await acted(api, start + done % 10)
            done += 1
        return done

    async def seal() -> int:
        sealed = 0
        while erasing:
            sealed += (await sequencer.seal()).entries
            await asyncio.sleep(0.01)
        return sealed

    actors = [asyncio.create_task(act(number * 10)) for number in range(ACTORS)]
    sealing = asyncio.create_task(seal())
    await retain(JOB, api.workers)
    erasing = False
    deeds, sealed = sum(await asyncio.gather(*actors)), await sealing
    assert deeds >= ACTORS
    assert sealed > 0, "the log stood still"
    erased = await owner.fetchval("select count(*) from audit.decision where kind = 'subject.erased'")
    # Whoever acted before its key was reached is kept: its time had been carried forward.
    assert PERSONS - ACTORS * 10 <= erased <= PERSONS
    await sequencer.seal()
    assert (await reconcile(owner)).problems == {}
    await readable_are_those_whose_key_is_there(owner)


async def acted(api: Api, number: int) -> None:
    report = {"resource": "mask.n95", "asOf": f"{api.at - timedelta(minutes=number):%Y-%m-%dT%H:%M:%SZ}", "staffed": 9}
    person = {"identifier": f"staff-{number}", "name": "A Name"}
    await api.done("clinic", "reportCapacity", reports=[report | {"occupied": 1}], onBehalfOf=person)


async def readable_are_those_whose_key_is_there(owner: Any) -> None:
    """Every entry is proven, also those of the erased; each names a key that is there or was erased."""
    there = {row[0] for row in await owner.fetch("select subject_ref from erasable.subject_key")}
    erased = "select subject_id::uuid from audit.decision where kind = 'subject.erased'"
    gone = {row[0] for row in await owner.fetch(erased)}
    for row in await owner.fetch("select id from audit.decision where kind = 'capacity.reported'"):
        decision = verify_bundle(await bundle_of(owner, row["id"]), KEY.vkey).decision
        sealed = Sealed.of(decision.details)
        assert sealed is not None
        assert (sealed.subject in there) != (sealed.subject in gone)
