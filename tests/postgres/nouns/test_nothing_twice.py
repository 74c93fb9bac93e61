"""No unit is promised twice, no request gets more than it asked for, and no deed goes without its entry, whoever acts
at the same moment: many institutions, several planners and the clock, at random and all at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from sharewell.audit.reconcile import reconcile
from sharewell.domain.answers import PlanReply
from sharewell.domain.errors import Conflict, OfferExhausted
from sharewell.domain.overrides import CODES, OverrideDraft, OverrideKind
from sharewell.domain.policy import Action, Target
from sharewell.domain.reader import PLATFORM
from sharewell.domain.transfers import BY_OVERRIDE, NEXT, DeclineReason, Transfer, TransferState
from sharewell.store.allocations import Allocation
from sharewell.store.artifacts import keep_artifact
from sharewell.wiring import worker_caller
from sharewell_workers.allocate import allocate
from sharewell_workers.jobs import Job

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.nouns.conftest import World

    from sharewell.domain.institutions import Institution
    from sharewell.domain.offers import Offer
    from sharewell.domain.requests import Request

DEVICE = "ventilator"
FREE = 20  #: units each giver reports as free, for good
ROUNDS, ACTS = 14, 18
JOB = Job(id=1, name="allocate", payload={"region": "us-nj", "resource": DEVICE}, request_id="r-2", attempt=1)
PLANNER = worker_caller("allocate", "r-2")
CLOCK = worker_caller("expire", "r-3")

PROMISED = """
select o.id, o.quantity, o.promised, o.status,
       coalesce(sum(least(t.quantity, t.dispatched))
                  filter (where t.state not in ('declined', 'expired', 'cancelled', 'returned')), 0) as alive
  from sharewell.offer o left join sharewell.transfer t on t.offer_id = o.id group by o.id
"""
#: At the first instant of each offer's window: what its giver has pledged and promised for that instant.
PLEDGED = """
select o.id, (select sum(case p.status when 'open' then p.quantity else p.promised end) from sharewell.offer p
               where p.institution_id = o.institution_id and p.resource = o.resource
                 and p.available_from <= o.available_from and o.available_from < p.available_until) as pledged
  from sharewell.offer o
"""
GRANTED = """
select q.id, q.requested, q.approved, q.fulfilled, q.status, q.needed_until,
       coalesce((select sum(least(t.quantity, t.dispatched, t.received)) from sharewell.transfer t
                  where t.request_id = q.id and t.state not in ('declined', 'expired', 'cancelled')), 0) as assigned,
       coalesce((select sum(least(t.quantity, t.dispatched, t.received)) from sharewell.transfer t
                  where t.request_id = q.id and t.state in ('received', 'return_due', 'returned')), 0) as arrived,
       coalesce((select sum(r.requested) from sharewell.request r where r.remainder_of = q.id), 0) as left_over,
       coalesce((select sum(case when t.state in ('declined', 'expired', 'cancelled')
                                      and t.changed_at >= q.needed_until then t.quantity else 0 end
                            + case when t.dispatched_at >= q.needed_until
                                   then t.quantity - least(t.quantity, t.dispatched) else 0 end
                            + case when t.received_at >= q.needed_until
                                   then least(t.quantity, t.dispatched) - least(t.quantity, t.dispatched, t.received)
                                   else 0 end)
                   from sharewell.transfer t where t.request_id = q.id), 0) as too_late,
       exists (select from sharewell.transfer t where t.request_id = q.id) as answered
  from sharewell.request q
"""
STEPS = """
select t.id, t.state, array_agg(s.state order by s.at, s.decision_id, s.state <> 'proposed') as steps,
       exists (select from sharewell.override o where o.replacement_id = t.id) as reassigned
  from sharewell.transfer t join sharewell.transfer_step s on s.transfer_id = t.id group by t.id
"""


@dataclass
class Market:
    """Institutions, and what was there when the current round began; several may pick the same of it at once."""

    world: World
    chance: random.Random
    givers: list[Institution]
    takers: list[Institution]
    offers: list[Offer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)

    async def look(self) -> None:
        newest = UUID(int=2**128 - 1)
        async with self.world.people.database.transaction(read_only=True, reader=PLATFORM) as tx:
            offers = await tx.offers.page(
                before=newest, institution=None, resource=None, only_open=True, at=self.world.at, first=100
            )
            requests = await tx.requests.page(before=newest, institution=None, resource=None, status="open", first=100)
            transfers = await tx.transfers.page(before=newest, party=None, state=None, allocation=None, first=200)
        self.offers, self.requests, self.transfers = list(offers.items), list(requests.items), list(transfers.items)

    def transfer(self) -> Transfer | None:
        alive = [t for t in self.transfers if NEXT[t.state]]
        return self.chance.choice(alive) if alive else None

    async def pledge(self) -> None:
        giver, later = self.chance.choice(self.givers), timedelta(days=self.chance.choice([0, 0, 1]))
        await self.world.pledge(
            giver, self.chance.randint(1, 9), resource=DEVICE, minimum_kept=self.chance.randint(0, 3),
            available_from=self.world.at + later, available_until=self.world.at + later + timedelta(days=2),
        )  # fmt: skip

    async def withdraw(self) -> None:
        if self.offers:
            offer = self.chance.choice(self.offers)
            await self.world.people.offers.withdraw(self.world.callers[offer.institution], offer.id)

    async def ask(self) -> None:
        taker = self.chance.choice(self.takers)
        await self.world.ask(taker, self.chance.randint(1, 9), resource=DEVICE, urgency=self.chance.randint(1, 5))

    async def cancel(self) -> None:
        if self.requests:
            request = self.chance.choice(self.requests)
            await self.world.people.requests.cancel(self.world.callers[request.institution], request.id)

    async def plan(self) -> None:
        await allocate(JOB, self.world.workers)

    async def sweep(self) -> None:
        await self.world.workers.transfers.sweep(CLOCK)
        await self.world.workers.deviations.sweep(CLOCK)

    async def decline(self) -> None:
        if (transfer := self.transfer()) is not None:
            reason = self.chance.choice(list(DeclineReason))
            await self.world.people.transfers.decline(self.world.callers[transfer.giver], transfer.id, reason)

    async def advance(self) -> None:
        """The next orderly step of some transfer."""
        if (transfer := self.transfer()) is None:
            return
        steps = self.world.people.transfers
        counted = max(1, transfer.quantity + self.chance.choice([-2, 0, 0, 0, 1]))
        orderly: dict[TransferState, Callable[..., Awaitable[Any]]] = {
            TransferState.HELD: steps.confirm, TransferState.CONFIRMED: partial(steps.dispatch, units=counted),
            TransferState.DISPATCHED: partial(steps.receive, units=counted),
        }  # fmt: skip
        take = orderly.get(transfer.state, steps.give_back)
        who = transfer.receiver if transfer.state is TransferState.DISPATCHED else transfer.giver
        await take(self.world.callers[who], transfer.id)

    async def override(self) -> None:
        """Some departure on purpose, whether it is possible just now or not."""
        if (transfer := self.transfer()) is None:
            return
        kind = self.chance.choice(list(OverrideKind))
        to = self.chance.choice(self.requests).id if self.requests and kind is OverrideKind.REASSIGN else None
        if kind is OverrideKind.REASSIGN and to is None:
            return
        draft = OverrideDraft(
            transfer=transfer.id, kind=kind, code=self.chance.choice(sorted(CODES[kind])), request=to
        )
        await self.world.people.overrides.make(self.world.callers[transfer.giver], draft)

    async def answer(self) -> None:
        """A giver answers all of some plan at once."""
        if (transfer := self.transfer()) is not None:
            reply = PlanReply(declines={}, others=self.chance.choice([None, DeclineReason.OWN_NEED_ROSE]))
            giver = transfer.giver
            await self.world.people.answers.reply(self.world.callers[giver], giver, transfer.allocation, reply)

    async def round(self, acts: int) -> None:
        """Many at once. The only answer anybody may get, besides success, is that the world has moved on."""
        await self.look()
        kinds = [
            self.pledge, self.withdraw, self.ask, self.ask, self.cancel, self.plan, self.plan, self.sweep, self.sweep,
            self.decline, self.decline, self.advance, self.advance, self.advance, self.advance, self.override,
            self.override, self.override, self.override, self.answer,
        ]  # fmt: skip
        done = await asyncio.gather(*(self.chance.choice(kinds)() for _ in range(acts)), return_exceptions=True)
        crashes = [e for e in done if isinstance(e, BaseException) and not isinstance(e, Conflict)]
        assert not crashes, crashes


async def _a_market(world: World, chance: random.Random) -> Market:
    givers = [await world.institution(f"giver-{n}", latitude=40 + n / 10) for n in range(3)]
    takers = [await world.institution(f"taker-{n}", latitude=41 + n / 10) for n in range(3)]
    for giver in givers:
        await world.report(giver, staffed=FREE + 5, occupied=5, resource=DEVICE)
    for taker in takers:
        await world.report(taker, staffed=5, occupied=5, waiting=30, resource=DEVICE)
    return Market(world, chance, givers, takers)


async def _assert_sound(pool: Pool) -> None:
    for offer in await pool.fetch(PROMISED):
        assert offer["promised"] == offer["alive"] <= offer["quantity"], dict(offer)
    for pledge in await pool.fetch(PLEDGED):
        assert pledge["pledged"] <= FREE, dict(pledge)
    for request in await pool.fetch(GRANTED):
        assert request["approved"] == request["assigned"], dict(request)
        assert request["fulfilled"] == request["arrived"] <= request["approved"] <= request["requested"], dict(request)
        if request["answered"]:
            somewhere = request["approved"] + request["left_over"] + request["too_late"]
            assert somewhere == request["requested"], dict(request)
    for transfer in await pool.fetch(STEPS):
        steps = [TransferState(step) for step in transfer["steps"]]
        first = TransferState.HELD if transfer["reassigned"] else TransferState.PROPOSED
        assert (steps[0], steps[-1]) == (first, transfer["state"])
        assert all(
            after in NEXT[before] | BY_OVERRIDE.get(before, frozenset()) for before, after in pairwise(steps)
        ), steps


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_at_once_every_unit_is_promised_once_and_every_deed_is_on_record(
    world: World, migrator_pool: Pool, seed: int
) -> None:
    market = await _a_market(world, random.Random(seed))
    for number in range(4 * ROUNDS):
        if number >= ROUNDS and await _too_little(migrator_pool) is None:
            break
        await market.round(ACTS)
        await _assert_sound(migrator_pool)
        world.at += timedelta(hours=market.chance.choice([0, 1, 5, 13, 25, 24 * 6]))
    async with migrator_pool.acquire() as conn:
        found = await reconcile(conn)  # type: ignore[arg-type]  # the proxy has every method of a connection
    assert found.complete, found.problems
    assert await _too_little(migrator_pool) is None


async def _too_little(pool: Pool) -> str | None:
    """A table of which not enough has happened yet; which acts get through is left to chance and to the moment."""
    for table, least in (("transfer", 5), ("override", 0), ("deviation", 0)):
        if await pool.fetchval(f"select count(*) from sharewell.{table}") <= least:
            return table
    return None


async def _promise_blindly(world: World, offer: Offer, request: Request, units: int) -> None:
    """A planner that does not look: holds units of the offer without a snapshot, a check or a lock."""
    async with world.workers.office.act(PLANNER, Action.ADOPT_PLAN, Target(kind="allocation", id="new")) as act:
        run = uuid7()
        sha256 = await keep_artifact(act.tx.conn, "instance", run.bytes)
        decision = await act.record("plan.adopted", "allocation", run, {})
        await act.tx.allocations.add(
            Allocation(
                id=run, region="us-nj", resource=offer.resource, rule="floor", instance_sha256=sha256,
                plan_sha256=sha256, owners=1, receivers=1, needed=units, assigned=units, measures={}, stages=[],
                solver={}, adopted_at=act.at, fairness={}, reserves=[],
            ),
            decision,
        )  # fmt: skip
        transfer = Transfer(
            id=uuid7(), offer=offer.id, request=request.id, giver=offer.institution, receiver=request.institution,
            resource=offer.resource, quantity=units, state=TransferState.PROPOSED, reason="Blindly.", allocation=run,
            hold_until=act.at + timedelta(days=1), decline_reason=None, return_due_at=None, changed_at=act.at,
        )  # fmt: skip
        await act.tx.transfers.add([transfer], decision)
        await act.tx.transfers.hold(run, decision)


async def _offer_and_request(world: World, quantity: int) -> tuple[Offer, Request]:
    market = await _a_market(world, random.Random(0))
    offer = await world.pledge(market.givers[0], quantity, resource=DEVICE)
    return offer, await world.ask(market.takers[0], 30, resource=DEVICE)


@pytest.mark.parametrize(("quantity", "units", "planners"), [(10, 3, 12), (7, 7, 8), (9, 1, 20)])
async def test_of_planners_that_do_not_look_only_as_many_succeed_as_there_are_units(
    world: World, migrator_pool: Pool, quantity: int, units: int, planners: int
) -> None:
    offer, request = await _offer_and_request(world, quantity)
    tries = await asyncio.gather(
        *(_promise_blindly(world, offer, request, units) for _ in range(planners)), return_exceptions=True
    )
    assert [t for t in tries if t is not None and not isinstance(t, OfferExhausted)] == []
    assert sum(t is None for t in tries) == quantity // units
    (found,) = await migrator_pool.fetch(PROMISED)
    assert found["promised"] == found["alive"] == quantity // units * units
    assert await migrator_pool.fetchval("select count(*) from audit.decision where kind = 'plan.adopted'") == sum(
        t is None for t in tries
    )


async def test_a_withdrawn_offer_promises_nothing_more_however_close_the_planner_comes(
    world: World, migrator_pool: Pool
) -> None:
    offer, request = await _offer_and_request(world, 20)
    giver = world.callers[offer.institution]
    tries = await asyncio.gather(
        *(_promise_blindly(world, offer, request, 1) for _ in range(6)),
        world.people.offers.withdraw(giver, offer.id),
        *(_promise_blindly(world, offer, request, 1) for _ in range(6)),
        return_exceptions=True,
    )
    assert not [t for t in tries if isinstance(t, BaseException) and not isinstance(t, OfferExhausted)]
    (found,) = await migrator_pool.fetch(PROMISED)
    assert found["status"] == "withdrawn"
    assert found["promised"] == found["alive"] == sum(t is None for t in tries)
    with pytest.raises(OfferExhausted, match="withdrawn"):
        await _promise_blindly(world, offer, request, 1)


async def test_a_transfer_never_changes_its_units_or_parties(world: World, migrator_pool: Pool) -> None:
    offer, request = await _offer_and_request(world, 5)
    await _promise_blindly(world, offer, request, 2)
    for change in ("quantity = 1", "giver_id = receiver_id", "resource = 'bed.adult'", "offer_id = request_id"):
        with pytest.raises(Exception, match=r"never its units or parties|violates"):
            await migrator_pool.execute(f"update sharewell.transfer set {change}")
    (found,) = await migrator_pool.fetch(PROMISED)
    assert found["promised"] == found["alive"] == 2


async def test_the_clock_locks_offers_in_the_order_of_plans_so_neither_waits_for_the_other_in_a_circle(
    world: World, migrator_pool: Pool
) -> None:
    market = await _a_market(world, random.Random(0))
    first, second = [await world.pledge(giver, 5, resource=DEVICE) for giver in market.givers[:2]]
    request = await world.ask(market.takers[0], 30, resource=DEVICE)
    for offer in (second, first):  # so that the older transfer takes from the newer offer
        await _promise_blindly(world, offer, request, 2)
    async with world.workers.office.act(PLANNER, Action.ADOPT_PLAN, Target(kind="allocation", id="new")) as act:
        await act.record("plan.refused", "allocation", "new", {})
        await act.tx.conn.execute("update sharewell.request set approved = 4, status = 'approved'")
    world.at += timedelta(hours=25)
    async with migrator_pool.acquire() as plan, plan.transaction():
        await plan.execute("select from sharewell.offer where id = $1 for update", first.id)
        sweep = asyncio.create_task(market.sweep())
        while not await plan.fetchval("select count(*) from pg_locks where not granted"):
            await asyncio.sleep(0.01)
        await plan.execute("select from sharewell.offer where id = $1 for update nowait", second.id)
    await sweep
    assert [row["promised"] for row in await migrator_pool.fetch(PROMISED)] == [0, 0]
