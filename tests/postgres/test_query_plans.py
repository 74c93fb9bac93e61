"""Lists and snapshots stay as quick as their answers are small: on filled tables they go by index, and read little more
than they return. Judged by rows that were read, not by time, and after enough runs for a generic plan to be chosen."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from sharewell.authz import Authorizer
from sharewell.domain.offers import OfferStatus
from sharewell.domain.policy import Action
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.principals import Caller, Role
from sharewell.domain.reader import PLATFORM, reader_of
from sharewell.services.links import ONE_BY_ONE
from sharewell.settings import DatabaseRole, Settings
from sharewell.store import (
    agreements,
    allocations,
    audit,
    break_glass,
    capacity,
    choices,
    consents,
    credit,
    deviations,
    drift,
    feeds,
    forecasts,
    happenings,
    horizons,
    inspection,
    institutions,
    log,
    offers,
    overrides,
    policy_versions,
    receipts,
    requests,
    simulations,
    subjects,
    surges,
    transfers,
    trials,
)
from sharewell.store.database import Database, _read_at_once
from sharewell.store.paging import (
    LIMIT,
    Condition,
    From,
    Listed,
    Place,
    Places,
    Size,
    begins,
    counting,
    narrowed,
)
from sharewell.store.pools import open_pool
from sharewell.store.written import Columns, Linked, Members, Wanted, WantedOne, written, written_one
from sharewell.wiring import build_services

if TYPE_CHECKING:
    from tests.conftest import TestServer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TODAY = NOW.date()
NEWEST = UUID(int=2**128 - 1)
REGION, BEDS = "r-7", "bed.adult"
GATEWAY, WORKER, SEQUENCER = DatabaseRole.GATEWAY, DatabaseRole.WORKER, DatabaseRole.SEQUENCER
BIG = 5_000  #: rows from which on a table must not be read from end to end

HOUSES, IN_A_REGION, DAYS = 1_000, 50, 30


def an_id(kind: int, number: int) -> UUID:
    """Ids in order of time, as the services give them out; the same as `id()` in the database."""
    return UUID(f"01900000-{kind:04x}-7000-8000-{number:012x}")


#: Rows as years of use leave them: nearly all of it is over, and every institution has its share.
FILL = f"""
set session_replication_role = replica;
do $$
declare guard record;
begin
  for guard in select tgrelid::regclass as name from pg_trigger where tgname = 'needs_entry_insert' loop
    execute format('alter table %s disable trigger needs_entry_insert', guard.name);
  end loop;
end $$;
create function pg_temp.id(kind integer, number bigint) returns uuid language sql immutable as $$
  select ('01900000-' || lpad(to_hex(kind), 4, '0') || '-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid $$;

insert into audit.entry (leaf_hash, body) select sha256('x'), 'x' from generate_series(1, 40000);
insert into audit.staged select pg_temp.id(9, n), n from generate_series(1, 40000) n;
insert into audit.header
    (id, staged_id, kind, at, actor, institution, action, outcome, policy_set, subject_kind, subject_id, request_id,
     resources)
  select pg_temp.id(9, n), n, case when n % 400 = 0 then 'audit.reconciled' else 'offer.published' end,
         timestamptz '{NOW}' - n * interval '1 minute', 'client-' || n % 100,
         pg_temp.id(1, n % {HOUSES}), 'publishOffer', case when n % 500 = 0 then 'refused' else 'allowed' end,
         md5((n / 5000)::text) || md5(''), 'offer', pg_temp.id(4, n)::text, 'r', array['resource-' || n % 400]
    from generate_series(1, 40000) n;
insert into audit.leaf select n - 1, n, sha256('x') from generate_series(1, 39900) n;
insert into audit.tree values (39900, sha256('x'), 39900);

insert into sharewell.resource
  select code, kind, code, '{{each}}', '', '', '', case kind when 'device' then 10 else 0 end, pg_temp.id(9, 1)
    from (values ('bed.adult', 'place'), ('ventilator', 'device')) r (code, kind);
insert into sharewell.institution
  select pg_temp.id(1, n), 'house-' || n, 'House', 'hospital', 'r-' || n / {IN_A_REGION}, 40, -74, 'general', 'active',
         timestamptz '{NOW}', pg_temp.id(9, 1) from generate_series(0, {HOUSES - 1}) n;
insert into sharewell.capacity_report
  select pg_temp.id(2, day * 10000 + n), pg_temp.id(1, n % {HOUSES}),
         case when n < {HOUSES} then 'bed.adult' else 'ventilator' end,
         timestamptz '{NOW}' - ({DAYS} - day) * interval '1 day', 1, 20, 10, 0, null, null, 0, null, 'api', null,
         '{{}}', null, timestamptz '{NOW}', pg_temp.id(9, 1)
    from generate_series(1, {DAYS}) day, generate_series(0, {2 * HOUSES - 1}) n;
insert into sharewell.capacity_report
  select pg_temp.id(2, 900000 + n), institution_id, resource, as_of, 1, 21, 10, 0, null, null, 0, null, 'api', null,
         '{{}}', id, recorded_at, decision_id
    from (select c.*, row_number() over (order by id) as n from sharewell.capacity_report c) c where n % 50 = 0;
insert into sharewell.offer
  select pg_temp.id(3, n), pg_temp.id(1, n % {HOUSES}), case when n % 2 = 0 then 'bed.adult' else 'ventilator' end, 5,
         case when n % 3 = 0 then 5 else 0 end, 0, timestamptz '{NOW}' - (20000 - n) * interval '1 hour',
         timestamptz '{NOW}' - (19900 - n) * interval '1 hour', '', null,
         case when n % 4 = 0 then 'withdrawn' else 'open' end, timestamptz '{NOW}', pg_temp.id(9, n), pg_temp.id(9, n)
    from generate_series(1, 20000) n;
insert into sharewell.request
  select pg_temp.id(4, n), pg_temp.id(1, n % {HOUSES}), case when n % 2 = 0 then 'bed.adult' else 'ventilator' end, 5,
         case when n > 19000 then 0 else 5 end, case when n > 19000 then 0 else 5 end, 3,
         timestamptz '{NOW}' - (20000 - n) * interval '1 hour', timestamptz '{NOW}' - (18000 - n) * interval '1 hour',
         'surge', case when n > 19000 then 'open' else 'fulfilled' end, null, '', timestamptz '{NOW}', pg_temp.id(9, 1),
         0, null
    from generate_series(1, 20000) n;
insert into sharewell.transfer
  select pg_temp.id(5, n), pg_temp.id(3, n), pg_temp.id(4, n), pg_temp.id(1, n % {HOUSES}),
         pg_temp.id(1, (n + 1) % {HOUSES}), case when n % 2 = 0 then 'bed.adult' else 'ventilator' end, 3,
         case when n > 19900 then 'held' when n > 19850 then 'confirmed' when n > 19700 then 'received'
              else 'returned' end, '',
         pg_temp.id(6, n / 10), timestamptz '{NOW}' - (20000 - n) * interval '1 minute', null,
         timestamptz '{NOW}' - (19800 - n) * interval '1 day', timestamptz '{NOW}', pg_temp.id(9, 1),
         x.units, x.at, x.units, x.at
    from generate_series(1, 20000) n
    left join lateral (select 3 as units, timestamptz '{NOW}' - (20000 - n) * interval '1 hour' as at) x on n <= 19850;
insert into sharewell.transfer_step
  select id, state, changed_at, decision_id from sharewell.transfer;
insert into sharewell.transfer_step
  select id, 'confirmed', dispatched_at, pg_temp.id(9, 1) from sharewell.transfer where dispatched_at is not null;
insert into sharewell.override
  select pg_temp.id(11, n), 'cancel', 'need_ended', pg_temp.id(5, n * 3), null, null, pg_temp.id(1, n * 3 % {HOUSES}),
         pg_temp.id(1, (n * 3 + 1) % {HOUSES}), 'client-' || n % 100, timestamptz '{NOW}' - n * interval '1 hour',
         pg_temp.id(9, n) from generate_series(1, 6000) n;
insert into sharewell.deviation
  select pg_temp.id(12, n), case when n % 2 = 0 then 'dispatched_less' else 'not_dispatched' end, pg_temp.id(5, n * 3),
         pg_temp.id(1, n * 3 % {HOUSES}), pg_temp.id(1, (n * 3 + 1) % {HOUSES}), 'bed.adult', 3, 2,
         timestamptz '{NOW}' - n * interval '1 hour', pg_temp.id(9, n) from generate_series(1, 6000) n;
alter table sharewell.policy_version disable trigger user;
alter table sharewell.break_glass disable trigger user;
insert into sharewell.policy_version
  select n, 'drafted', case when n < 5980 then 'superseded' when n = 5980 then 'effective' else 'approved' end, 'admin',
         null, null, null, '', '[]', at, at, at, '{{}}', 'second', null, at, at, case when n <= 5980 then at end,
         case when n < 5980 then at end, pg_temp.id(9, n), pg_temp.id(9, n),
         null, '{{}}', null, n
    from (select n, timestamptz '{NOW}' - (5990 - n) * interval '1 hour' as at from generate_series(1, 6000) n) x;
insert into sharewell.policy_step
  select number, state, effective_from, decision_id from sharewell.policy_version;
insert into sharewell.break_glass
  select pg_temp.id(16, n), n, 'wrong_rule', timestamptz '{NOW}' - (5999 - n) * interval '2 hours',
         timestamptz '{NOW}' - (5999 - n) * interval '2 hours' + interval '1 hour', 'client', null,
         case when n < 6000 then timestamptz '{NOW}' end, case when n < 6000 then 'expired' end, pg_temp.id(9, n),
         case when n < 6000 then pg_temp.id(9, n) end, null, n from generate_series(1, 6000) n;
insert into sharewell.surge_mode
  select pg_temp.id(13, n), 'r-' || n % 20, null, 'disaster', timestamptz '{NOW}' - (6000 - n) * interval '1 hour',
         timestamptz '{NOW}' - (5950 - n) * interval '1 hour', null, 'client',
         case when n < 5990 then timestamptz '{NOW}' end, case when n < 5990 then 'expired' end, pg_temp.id(9, n),
         case when n < 5990 then pg_temp.id(9, n) end from generate_series(1, 6000) n;
insert into sharewell.consent
  select pg_temp.id(14, n), pg_temp.id(1, n % {HOUSES}), case when n % 2 = 0 then 'bed.adult' else 'ventilator' end,
         timestamptz '{NOW}' - interval '40 days', timestamptz '{NOW}' + interval '40 days',
         case when n > 1000 then timestamptz '{NOW}' end, pg_temp.id(9, n) from generate_series(1, 6000) n;
insert into sharewell.agreement
  select pg_temp.id(16, n), pg_temp.id(1, n % {HOUSES}), pg_temp.id(1, (n * 7 + 1) % {HOUSES}), null, 'counts',
         timestamptz '{NOW}' - interval '40 days', timestamptz '{NOW}' + interval '40 days',
         timestamptz '{NOW}' - interval '41 days', timestamptz '{NOW}' - interval '40 days',
         case when n > 3000 then timestamptz '{NOW}' end, pg_temp.id(9, n)
    from generate_series(1, 6000) n where n % {HOUSES} <> (n * 7 + 1) % {HOUSES};
insert into sharewell.remark
  select pg_temp.id(9, n * 2), lpad(n::text, 32, '0'), 'x' from generate_series(1, 6000) n;
insert into sharewell.run_receipt
  select pg_temp.id(6, n / 10), pg_temp.id(1, n % {HOUSES}), timestamptz '{NOW}' - (80000 - n) * interval '5 minutes',
         'bed.adult', 0, 1, 0, 0, 1, 0, 0, 0 from generate_series(0, 80000) n;
insert into sharewell.unfilled
  select pg_temp.id(6, n / 4), pg_temp.id(4, 1 + n % 20000), pg_temp.id(1, n % {HOUSES}), 2, 'no_lane', ''
    from generate_series(0, 30000) n;
insert into sharewell.allocation
  select pg_temp.id(6, n), 'r-' || n % 20, 'bed.adult', lpad(n::text, 64, '0'), '', 1, 1, 1, 1, '{{}}', '{{}}',
         timestamptz '{NOW}', pg_temp.id(9, n), '{{}}', '[]',
         case when n / 20 % 5 = 0 then 'floor' else 'projected_proportional' end, '[]'
    from generate_series(0, 8000) n;
insert into sharewell.horizon
  select pg_temp.id(15, n), 'r-' || n % 20, array['bed.adult'], 7, 500, 10, timestamptz '{NOW}', lpad(n::text, 64, '0'),
         '', 1, 1, '{{}}', '[]', '{{}}', timestamptz '{NOW}', pg_temp.id(9, n) from generate_series(0, 6000) n;
insert into sharewell.horizon_day
  select pg_temp.id(15, n), pg_temp.id(1, place), 'bed.adult', 0, 1, 1, 0, 0, 0
    from generate_series(0, 40) n, generate_series(0, {HOUSES - 1}) place;
insert into sharewell.horizon_movement
  select pg_temp.id(15, n % 60), n, 'bed.adult', 0, 0, pg_temp.id(1, n % {HOUSES}), pg_temp.id(1, (n + 1) % {HOUSES}),
         1, 0, 0 from generate_series(0, 6000) n;
insert into sharewell.horizon_unmet
  select pg_temp.id(15, n), pg_temp.id(1, place), 'bed.adult', 1, 'no_lane', '', 0
    from generate_series(0, 40) n, generate_series(0, {HOUSES - 1}) place;
insert into sharewell.choice
  select pg_temp.id(11, n), 'r-' || n % 20, 'bed.adult', '{{}}', '[]', timestamptz '{NOW}', pg_temp.id(9, n)
    from generate_series(0, 6000) n;
insert into sharewell.credit
  select pg_temp.id(6, n), pg_temp.id(1, place), 'bed.adult', 0, pg_temp.id(9, n)
    from generate_series(0, 200) n, generate_series(0, {HOUSES - 1}) place;
insert into sharewell.forecast_run
  select pg_temp.id(7, n), case when n % 2 = 0 then 'bed.adult' else 'ventilator' end, 1, date '{TODAY}' - n, 'naive',
         null, timestamptz '{NOW}' - interval '1 day', n::text, '', 1, 0, timestamptz '{NOW}', pg_temp.id(9, n)
    from generate_series(0, 9) n;
insert into sharewell.forecast_run
  select pg_temp.id(6, n), case when n % 2 = 0 then 'bed.adult' else 'ventilator' end, 1, date '{TODAY}' - 10 - n / 2,
         'naive', null, timestamptz '{NOW}' - n * interval '1 hour', 'old ' || n, '', 1, 0,
         timestamptz '{NOW}' - n * interval '1 hour', pg_temp.id(9, n + 10) from generate_series(1, 600) n;
insert into sharewell.forecast
  select pg_temp.id(7, run), pg_temp.id(1, n), case when run % 2 = 0 then 'bed.adult' else 'ventilator' end,
         date '{TODAY}' + ahead, ahead + 1, '{{500}}', '{{7}}', 'naive', ''
    from generate_series(0, 9) run, generate_series(0, {HOUSES - 1}) n, generate_series(0, 6) ahead;
insert into sharewell.forecast_sum
  select pg_temp.id(7, run), case when n = 0 then '' else 'r-' || n end,
         case when run % 2 = 0 then 'bed.adult' else 'ventilator' end, date '{TODAY}' + ahead, ahead + 1, '{{500}}',
         '{{7}}'
    from generate_series(0, 9) run, generate_series(0, 200) n, generate_series(0, 6) ahead;
insert into sharewell.forecast_trial
  select pg_temp.id(10, n), case when n % 2 = 0 then 'bed.adult' else 'ventilator' end, 1, 'adopted', '',
         lpad(to_hex(n), 64, '0'), 'naive', date '{TODAY}', timestamptz '{NOW}', '', '{{}}', '{{}}', '{{}}',
         timestamptz '{NOW}', pg_temp.id(9, n) from generate_series(0, 6000) n;
insert into sharewell.forecast_watch
  select pg_temp.id(1, n % {HOUSES}), case when n < {HOUSES} then 'bed.adult' else 'ventilator' end,
         case when n % 20 = 0 then 'drifting' else 'holding' end, case when n % 20 = 0 then date '{TODAY}' end,
         date '{TODAY}' - 1, timestamptz '{NOW}' - interval '2 days', '', '{{1,0,0,0}}', 1, 0.2, '1', 1, 0,
         pg_temp.id(9, 1) from generate_series(0, {2 * HOUSES - 1}) n;
insert into sharewell.feed
  select pg_temp.id(8, n), case when n % 10 = 0 then 'nj' else 'hhs' end, '', lpad(n::text, 64, '0'), '', '', 1, 1, 1,
         1, 1, 1, null, null, '{{}}', timestamptz '{NOW}', pg_temp.id(9, n) from generate_series(1, 6000) n;
insert into erasable.subject_key
  select pg_temp.id(11, n), sha256(n::text::bytea), pg_temp.id(1, n % {HOUSES}),
         case when n % 100 = 0 then 'old' else 'new' end, 'w',
         timestamptz '{NOW}', timestamptz '{NOW}' + n * interval '1 hour' from generate_series(1, 6000) n;
do $$  -- As many rows are looked at as the column with the most detail needs: here all, or chance would choose plans.
declare one record;
begin
  for one in select c.oid::regclass as name, a.attname as first
               from pg_class c join pg_attribute a on a.attrelid = c.oid
              where c.relkind = 'r' and a.attnum = 1 and not a.attisdropped
                and c.relnamespace in ('audit'::regnamespace, 'erasable'::regnamespace, 'sharewell'::regnamespace) loop
    execute format('alter table %s alter column %I set statistics 1000', one.name, one.first);
  end loop;
end $$;
analyze;
"""


@dataclass(frozen=True)
class Query:
    """A statement as a service sends it, and how many rows it may read."""

    statement: str
    arguments: tuple[Any, ...]
    most: int
    role: DatabaseRole = GATEWAY
    reader: str = PLATFORM


def as_seen(
    caller: Caller, action: Action, statement: str, places: Places, arguments: tuple[Any, ...], most: int
) -> Query:
    """A list as `caller` gets it, narrowed by the policies and walled in by the database."""
    seen = AUTHORIZER.filter(caller, action)
    narrow = narrowed(statement, seen, places, len(arguments))
    return Query(narrow, (*arguments, *seen.values), most, reader=reader_of(caller))


def in_order(module: Any, name: str, arguments: tuple[Any, ...], at: tuple[Any, UUID] | None, most: int) -> Query:
    """A list in another order than its usual one, behind a row or from its start; the later or larger first."""
    listed = Listed(module.PAGE, arguments).paged(1, Place(module.SORTS[name], descending=True, at=at))
    return Query(listed.statement, listed.values, most)


def backwards(statement: str, values: tuple[Any, ...], most: int, place: Place | None = None) -> Query:
    """The last page of a list, or the one before a row."""
    listed = Listed(statement, (*values, LIMIT)).paged(Size(50, backwards=True), place)
    return Query(listed.statement, listed.given(50), most)


def seen_in_order(
    caller: Caller, action: Action, statement: str, places: Places, values: tuple[Any, ...], most: int, *,
    size: Size, place: Place | None,
) -> Query:  # fmt: skip
    """A page of a list as `caller` gets it, in another order than its usual one, or backwards."""
    listed = Listed(statement, (*values, LIMIT)).seen(AUTHORIZER.filter(caller, action), places).paged(size, place)
    return Query(listed.statement, listed.given(50), most, reader=reader_of(caller))


def in_order_of(statement: str, values: tuple[Any, ...], most: int, place: Place) -> Query:
    """A page of a list in another order than its usual one."""
    listed = Listed(statement, (*values, LIMIT)).paged(50, place)
    return Query(listed.statement, listed.given(50), most)


def those(statement: str, arguments: tuple[Any, ...], conditions: Iterable[Condition], most: int) -> Query:
    """The rows of a list that a filter asks for."""
    listed = Listed(statement, arguments).where(conditions)
    return Query(listed.statement, listed.values, most)


AUTHORIZER = Authorizer.load()
HOUSE = an_id(1, 7 * IN_A_REGION + 3)
SMALL = Caller(
    principal="h", roles=frozenset({Role.INSTITUTION}), institution=HOUSE, scopes=frozenset({"system/*.rs"})
)
COASTAL = Caller(
    principal="r", roles=frozenset({Role.REGULATOR}), jurisdiction=frozenset({REGION}),
    scopes=frozenset({"system/*.rs"}),
)  # fmt: skip
SOME_DECISIONS = [an_id(9, number) for number in range(30_001, 30_065)]
SINCE, YEARS = NOW - timedelta(days=9), NOW + timedelta(days=365)


def decided(**asked: Any) -> tuple[Any, ...]:
    """What a search for decisions asks for."""
    return audit.DecisionFilter(**asked).values()


A_DAY = {"since": NOW - timedelta(days=10), "until": NOW - timedelta(days=9)}
A_WHOLE_DAY = A_DAY["since"], simulations.START
AN_OLD_SET = hashlib.md5(b"7", usedforsecurity=False).hexdigest() + hashlib.md5(b"", usedforsecurity=False).hexdigest()
#: Filters of decisions, and how many rows may be read of those for a page.
OLDEST_FIRST: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "all": ({}, 200), "of one": ({"institution": HOUSE}, 200), "by actor": ({"actor": "client-7"}, 200),
    "to refuse": ({"outcome": "refused"}, 200), "by action": ({"action": "declareSurge"}, 100),
    "of a resource": ({"resource": "resource-7"}, 500), "of a day": (A_DAY, 200),
    "under old policies": ({"policy_set": AN_OLD_SET}, 200),
}  # fmt: skip

ALL_OFFERS, ALL_REQUESTS = (NEWEST, None, None, False, NOW, 51), (NEWEST, None, None, None, 51)
ALL_TRANSFERS = ALL_REQUESTS
QUERIES: Mapping[str, Query] = {
    "decisions of a window, to be decided anew": Query(
        simulations.REPLAY, (*A_DAY.values(), A_DAY["since"], UUID(int=0), 200), 900
    ),
    "decisions of a window, from its end": backwards(
        simulations.REPLAY, (*A_DAY.values(), *begins(A_WHOLE_DAY, A_WHOLE_DAY)), 900
    ),
    "whose decisions are": Query(simulations.HEADERS, ([an_id(9, number) for number in range(1, 101)],), 1_000),
    "capacity": Query(capacity.PAGE, (NEWEST, None, None, 51), 100),
    "capacity, far down": Query(capacity.PAGE, (an_id(2, 150_000), None, BEDS, 51), 2_500),
    "capacity of one": Query(capacity.PAGE, (NEWEST, HOUSE, None, 51), 200),
    "capacity of one, of a resource": Query(capacity.PAGE, (NEWEST, HOUSE, BEDS, 51), 100),
    "newest reports of a region, of everything": Query(capacity.NEWEST_OF_REGION, (REGION, None), 2_500),
    "newest report": Query(capacity.LATEST, (HOUSE, BEDS), 10),
    "newest reports of a region": Query(capacity.LATEST_IN_REGION, (REGION, BEDS), 500, WORKER),
    "offers": Query(offers.PAGE, (NEWEST, None, None, False, NOW, 51), 100),
    "offers, before one far down": backwards(
        offers.PAGE, (From(an_id(3, 9_000), NEWEST), None, None, False, NOW), 200
    ),
    "offers by quantity, before one far down": backwards(
        offers.PAGE, (From(NEWEST, NEWEST), None, None, False, NOW), 200,
        Place(offers.SORTS["quantity"], descending=True, at=(5, an_id(3, 9_000))),
    ),
    "offers of one": Query(offers.PAGE, (NEWEST, HOUSE, None, False, NOW, 51), 200),
    "offers of a resource": Query(offers.PAGE, (NEWEST, None, BEDS, False, NOW, 51), 400),
    "offers that are open": Query(offers.PAGE, (NEWEST, None, BEDS, True, NOW, 51), 1_000),
    "offers by the end of their window": in_order(offers, "available_until", ALL_OFFERS, None, 100),
    "offers by the end of their window, far down": in_order(
        offers, "available_until", ALL_OFFERS, (NOW - timedelta(days=100), an_id(3, 9_000)), 200
    ),
    "offers by quantity, far down": in_order(offers, "quantity", ALL_OFFERS, (5, an_id(3, 9_000)), 200),
    "offers by expiry, far down": in_order(offers, "expires_on", ALL_OFFERS, ("infinity", an_id(3, 9_000)), 200),
    "offers that a filter asks for": those(
        offers.PAGE, ALL_OFFERS,
        offers.OfferFilter(resources=[BEDS], status=OfferStatus.OPEN, remaining_at_least=3).conditions(), 1_000,
    ),
    "offers of a region that a filter asks for": those(
        offers.PAGE, ALL_OFFERS, offers.OfferFilter(region=REGION).conditions(), 3_000
    ),
    "offers, counted": Query(counting(offers.PAGE), (NEWEST, None, None, False, NOW, 10_001), 10_500),
    "requests by need, far down": in_order(
        requests, "needed_by", ALL_REQUESTS, (NOW - timedelta(days=100), an_id(4, 9_000)), 200
    ),
    "requests by urgency, far down": in_order(requests, "urgency", ALL_REQUESTS, (3, an_id(4, 9_000)), 200),
    "requests by need, one's own": as_seen(
        SMALL, Action.VIEW_REQUEST,
        Listed(requests.PAGE, ALL_REQUESTS).paged(1, Place(requests.SORTS["needed_by"], descending=False)).statement,
        requests.OWNER, ALL_REQUESTS, 200,
    ),
    "requests, counted": Query(counting(requests.PAGE), (NEWEST, None, None, None, 10_001), 10_500),
    "requests, one's own, counted": as_seen(
        SMALL, Action.VIEW_REQUEST, counting(requests.PAGE), requests.OWNER, (NEWEST, None, None, None, 10_001), 200
    ),
    "transfers by change, far down": in_order(
        transfers, "changed", ALL_TRANSFERS, (NOW, an_id(5, 9_000)), 200
    ),
    "transfers by quantity, far down": in_order(transfers, "quantity", ALL_TRANSFERS, (3, an_id(5, 9_000)), 200),
    "transfers that somebody gives": those(
        transfers.PAGE, ALL_TRANSFERS, transfers.TransferFilter(giver=HOUSE).conditions(), 200
    ),
    "capacity by the moment, far down": in_order(
        capacity, "as_of", (NEWEST, None, None, 51), (NOW - timedelta(days=10), an_id(2, 209_000)), 200
    ),
    "capacity, counted": Query(counting(capacity.PAGE), (NEWEST, None, None, 10_001), 10_500),
    "offers of a region": Query(offers.OPEN_IN_REGION, (REGION, [BEDS], NOW), 1_000, WORKER),
    "offers of a plan": Query(offers.LOCK_THESE, ([an_id(3, n) for n in range(100, 120)],), 100, WORKER),
    "requests": Query(requests.PAGE, (NEWEST, None, None, None, 51), 100),
    "requests of one": Query(requests.PAGE, (NEWEST, HOUSE, None, None, 51), 200),
    "requests that are open": Query(requests.PAGE, (NEWEST, None, BEDS, "open", 51), 400),
    "requests of one that are open": Query(requests.PAGE, (NEWEST, HOUSE, None, "open", 51), 200),
    "requests of a region": Query(requests.OPEN_IN_REGION, (REGION, [BEDS], NOW), 1_500, WORKER),
    "requests of a plan": Query(requests.LOCK_THESE, ([an_id(4, n) for n in range(100, 120)],), 100, WORKER),
    "requests that ran out": Query(requests.ENDED, (SINCE,), 1_500, WORKER),
    "transfers": Query(transfers.PAGE, (NEWEST, None, None, None, 51), 100),
    "transfers of a party": Query(transfers.PAGE, (NEWEST, HOUSE, None, None, 51), 400),
    "transfers of a plan": Query(transfers.PAGE, (NEWEST, None, None, an_id(6, 77), 51), 100),
    "transfers of a party that are held": Query(transfers.PAGE, (NEWEST, HOUSE, "held", None, 51), 400),
    "holds that ran out": Query(transfers.EXPIRED_HOLDS, (NOW,), 500, WORKER),
    "loans that are due": Query(transfers.DUE_BACK, (NOW,), 500, WORKER),
    "units coming to a region": Query(transfers.INCOMING_IN_REGION, (REGION, BEDS), 1_000, WORKER),
    "holds of requests that ran out": Query(
        transfers.LAPSED, ([an_id(4, n) for n in range(19_950, 20_000)],), 200, WORKER
    ),
    "the choice in force": Query(choices.IN_FORCE, (REGION, BEDS), 50, WORKER),
    "the choices in force": Query(choices.ALL_IN_FORCE, (REGION, [BEDS]), 400, WORKER),
    "choices": Query(choices.PAGE, (NEWEST, None, None, 51), 200, GATEWAY),
    "choices of a region": Query(choices.PAGE, (NEWEST, REGION, BEDS, 51), 200, GATEWAY),
    "credit of a region": Query(credit.NEWEST, (BEDS, [an_id(1, n) for n in range(50)]), 200, WORKER),
    "the run that answered": Query(allocations.THAT_ANSWERED, (an_id(4, 19_990),), 20, GATEWAY),
    "promises of a region": Query(transfers.PROMISED_IN_REGION, (REGION, BEDS, NOW), 1_000, WORKER),
    "steps": Query(transfers.STEPS, (an_id(5, 500),), 10),
    "open holds of one in a plan": Query(transfers.OPEN_HOLDS, (an_id(6, 1999), an_id(1, 993), SINCE), 50),
    "answers to plans": Query(transfers.ANSWERS, ([an_id(6, n) for n in range(50)],), 600),
    "what never left": Query(transfers.NOT_DISPATCHED, (NOW,), 500, WORKER),
    "overrides": Query(overrides.PAGE, (NEWEST, None, None, 51), 100),
    "overrides of a party": Query(overrides.PAGE, (NEWEST, HOUSE, None, 51), 200),
    "overrides of a week by code": Query(overrides.BY_CODE, (NOW - timedelta(days=7), NOW, None), 400),
    "deviations": Query(deviations.PAGE, (NEWEST, None, None, None, 51), 100),
    "deviations of a party": Query(deviations.PAGE, (NEWEST, HOUSE, None, None, 51), 200),
    "deviations of a transfer": Query(deviations.PAGE, (NEWEST, None, None, an_id(5, 300), 51), 10),
    "departures of a week": Query(
        deviations.TALLIES, (NOW - timedelta(days=7), NOW, ["dispatched_less", "not_dispatched"]), 3_000
    ),
    "surge modes of a region": Query(surges.PAGE, (NEWEST, "r-7", False, NOW, 51), 3_000),
    "surge modes that last": Query(surges.PAGE, (NEWEST, None, True, NOW, 51), 7_000),
    "some surge modes": Query(surges.BY_IDS, ([an_id(12, 7), an_id(12, 8)],), 20),
    "some deviations": Query(deviations.BY_IDS, ([an_id(11, 7), an_id(11, 8)],), 20),
    "where the signed log ends": Query(happenings.END, (), 20),
    "what happens": Query(happenings.BETWEEN, (35_000, 39_900, ["offer.published"], 64), 300),
    "what happens, in a window with little": Query(happenings.BETWEEN, (38_900, 39_900, ["surge.ended"], 64), 2_100),
    "transfers of decisions": Query(happenings.TRANSFERS, (SOME_DECISIONS,), 100),
    "requests of decisions": Query(happenings.REQUESTS, (SOME_DECISIONS,), 100),
    "runs of decisions": Query(happenings.RUNS, (SOME_DECISIONS,), 100),
    "deviations of decisions": Query(happenings.DEVIATIONS, (SOME_DECISIONS,), 100),
    "the surge mode in force": Query(surges.IN_FORCE, ("r-19", BEDS, NOW - timedelta(days=1)), 20, WORKER),
    "surge modes whose time is over": Query(surges.OVER, (NOW,), 100, WORKER),
    "agreements of one": Query(agreements.PAGE, (NEWEST, HOUSE, False, NOW, 51), 200),
    "agreements in force for one": Query(agreements.IN_FORCE_FOR, (HOUSE, NOW, None), 200),
    "agreements in force by one": Query(agreements.IN_FORCE_BY, (HOUSE, NOW), 200),
    "agreements of one with one": Query(agreements.IN_FORCE_FOR, (HOUSE, NOW, an_id(1, 5)), 50),
    "runs with small parts": Query(receipts.SMALL_PARTS, ([an_id(6, n) for n in range(20)], 1, 10), 500),
    "runs with small parts by reason": Query(
        receipts.SMALL_PARTS_BY_REASON, ([an_id(6, n) for n in range(20)], 1, 10), 500
    ),
    "versions of the policies": Query(policy_versions.PAGE, (2**31 - 1, None, 51), 300),
    "the version in force": Query(policy_versions.PAGE, (2**31 - 1, "effective", 51), 50),
    "the newest set of a release": Query(policy_versions.NEWEST_SHIPPED, (), 20),
    "what is and will be in force": Query(policy_versions.SCHEDULE, (), 100, WORKER),
    "versions whose time has come": Query(policy_versions.DUE, (NOW,), 200, WORKER),
    "steps of versions": Query(policy_versions.STEPS, (list(range(100, 150)),), 500),
    "approved since": Query(policy_versions.APPROVALS, (an_id(16, 5990),), 100),
    "broken glasses": Query(break_glass.PAGE, (NEWEST, False, NOW, 51), 100),
    "the last broken glass": Query(break_glass.LAST, (), 5),
    "broken glasses whose time is over": Query(break_glass.OVER, (NOW,), 20, WORKER),
    "consents by their end, far down": in_order(
        consents, "until", (NEWEST, None, False, NOW, 51), (NOW + timedelta(days=40), an_id(14, 3_000)), 200
    ),
    "agreements by their end, far down": in_order(
        agreements, "until", (NEWEST, None, False, NOW, 51), (NOW + timedelta(days=40), an_id(16, 3_000)), 200
    ),
    "runs of forecasts by origin, far down": in_order_of(
        forecasts.RUNS, (From(NEWEST, NEWEST), None), 200,
        Place(forecasts.RUN_SORTS["origin"], descending=True, at=(TODAY - timedelta(days=110), an_id(6, 200))),
    ),
    "consents of one": Query(consents.PAGE, (NEWEST, HOUSE, False, NOW, 51), 200),
    "consents that stand": Query(consents.STANDING, ([an_id(1, n) for n in range(20)], BEDS, NOW), 200, WORKER),
    "receipts of runs": Query(receipts.OF_RUNS, ([an_id(6, n) for n in range(50)],), 700),
    "receipts of runs, one's own": as_seen(
        SMALL, Action.VIEW_RECEIPT, receipts.OF_RUNS, receipts.OWNER, ([an_id(6, n) for n in range(50)],), 100
    ),
    "requests, one's own": as_seen(
        SMALL, Action.VIEW_REQUEST, requests.PAGE, requests.OWNER, (NEWEST, None, None, None, 51), 200
    ),
    "requests of a regulator's region": as_seen(
        COASTAL, Action.VIEW_REQUEST, requests.PAGE, requests.OWNER, (NEWEST, None, None, None, 51), 2_500
    ),
    "transfers, one's own": as_seen(
        SMALL, Action.VIEW_TRANSFER, transfers.PAGE, transfers.PARTIES, (NEWEST, None, None, None, 51), 400
    ),
    "transfers of a regulator's region": as_seen(
        COASTAL, Action.VIEW_TRANSFER, transfers.PAGE, transfers.PARTIES, (NEWEST, None, None, None, 51), 3_500
    ),
    "overrides, one's own": as_seen(
        SMALL, Action.VIEW_OVERRIDE, overrides.PAGE, overrides.EITHER, (NEWEST, None, None, 51), 200
    ),
    "decisions, one's own": as_seen(
        SMALL, Action.READ_AUDIT, audit.PAGE, audit.OWNER, (*decided(), NEWEST, 51), 200
    ),
    "decisions of a regulator's region": as_seen(
        COASTAL, Action.READ_AUDIT, audit.PAGE, audit.OWNER, (*decided(), NEWEST, 51), 4_000
    ),
    "unfilled of runs": Query(receipts.UNFILLED_OF_RUNS, ([an_id(6, n) for n in range(50)],), 500),
    "unfilled of requests": Query(receipts.UNFILLED_OF_REQUESTS, ([an_id(4, n) for n in range(1, 51)],), 300),
    "unfilled of runs by reason": Query(receipts.BY_REASON, ([an_id(6, n) for n in range(50)],), 500),
    "give and take of one": Query(
        receipts.LEDGER, (UUID(int=0), HOUSE, NOW - timedelta(days=7), NOW, None, 51), 100
    ),
    "give and take": Query(receipts.LEDGER, (UUID(int=0), None, NOW - timedelta(days=7), NOW, None, 51), 1_500),
    "forecasts of one": Query(forecasts.PAGE, (HOUSE, BEDS, TODAY, "", date.min, 51), 200),
    "forecasts of one, from their end": backwards(
        forecasts.PAGE, (HOUSE, BEDS, TODAY, *begins(("", date.min), ("", date.min))), 200
    ),
    "forecasts of one, by day": in_order_of(
        forecasts.PAGE, (HOUSE, None, TODAY, *begins(("", date.min), ("", date.min))), 300,
        Place(forecasts.SORTS["target"], descending=False, at=(None, BEDS, TODAY)),
    ),
    "forecasts of a region, by day": in_order_of(
        forecasts.SUMS, (BEDS, REGION, TODAY, *begins(("", date.min), ("", date.min))), 200,
        Place(forecasts.SUM_SORTS["target"], descending=True),
    ),
    "forecasts for a day": Query(forecasts.NEWEST_FOR_DAY, (REGION, BEDS, TODAY), 1_500, WORKER),
    "forecasts of a region": Query(forecasts.SUMS, (BEDS, REGION, TODAY, "", date.min, 51), 200),
    "outcomes of a resource": Query(drift.OUTCOMES, (BEDS, NOW - timedelta(days=1), 1), 40_000, WORKER),
    "what drifts": Query(drift.DRIFTING, (None, None, "", UUID(int=0), 51), 500),
    "what drifts of one": Query(drift.DRIFTING, (HOUSE, None, "", UUID(int=0), 51), 500),
    "how some stand": Query(drift.BY_KEYS, ([an_id(1, n) for n in range(50)], [BEDS] * 50), 200),
    "trials": Query(trials.PAGE, (NEWEST, None, 51), 100),
    "trials of models": Query(trials.BY_MODELS, ([f"{n:064x}" for n in range(20)],), 100),
    "the model in force": Query(trials.IN_FORCE, (BEDS, 1), 5, WORKER),
    "newest reports of a horizon": Query(horizons.REPORTS, (REGION, [BEDS, "ventilator"]), 900, WORKER),
    "forecasts of a horizon": Query(
        horizons.FORECASTS, (REGION, [BEDS, "ventilator"], TODAY, TODAY + timedelta(days=6)), 8_000, WORKER
    ),
    "what is under way in a region": Query(horizons.UNDER_WAY, (REGION, [BEDS, "ventilator"], NOW), 2_500, WORKER),
    "the schedule in force": Query(horizons.IN_FORCE, (REGION, [BEDS]), 20, WORKER),
    "schedules": Query(horizons.PAGE, (NEWEST, None, 51), 100),
    "schedules of a region": Query(horizons.PAGE, (NEWEST, REGION, 51), 1_500),
    "runs of a schedule": Query(horizons.RUNS, (an_id(15, 7),), 10),
    "days of a schedule, one's own": as_seen(
        SMALL, Action.VIEW_RECEIPT, horizons.DAYS, horizons.OWNER, (an_id(15, 7), None), 50
    ),
    "days of a schedule": Query(horizons.TOTALS, (an_id(15, 7),), 6_000),
    "movements of a schedule": Query(horizons.MOVEMENTS, (an_id(15, 7), None), 400),
    "what a schedule leaves open": as_seen(
        SMALL, Action.VIEW_RECEIPT, horizons.UNMET, horizons.OWNER, (an_id(15, 7), None), 50
    ),
    "a schedule for an instance": Query(horizons.ANSWERED, ("7".rjust(64, "0"),), 5, WORKER),
    "runs": Query(allocations.PAGE, (NEWEST, None, None, 51), 100),
    "runs of a region": Query(allocations.PAGE, (NEWEST, REGION, None, 51), 1_500),
    "runs for an instance": Query(allocations.ANSWERED, ("7" * 64,), 5, WORKER),
    "units answered since a run": Query(allocations.GRANTED_SINCE_RUN, (REGION, BEDS), 400, WORKER),
    "institutions": Query(institutions.PAGE, (UUID(int=0), None, 51), 100),
    "institutions of a region": Query(institutions.IN_REGION, (REGION,), 100, WORKER),
    "an institution by code": Query(institutions.BY_CODE, ("house-77",), 5),
    "feeds of a format": Query(feeds.PAGE, (NEWEST, "nj", 51), 1_000),
    "comparisons of the log": Query(audit.RECONCILED, (NEWEST, 51), 400),
    "a person": Query(subjects.BY_REF, (an_id(11, 77),), 10),
    "whose person it is": Query(subjects.OWNER, (an_id(11, 77),), 10),
    "persons whose time is over": Query(subjects.DUE, (NOW + timedelta(hours=20), 500), 100, WORKER),
    "keys under an old key": Query(subjects.UNDER, (["old"], 500), 200),
    "decisions": Query(audit.PAGE, (*decided(), NEWEST, 51), 200),
    "decisions, counted": Query(counting(audit.PAGE), (*decided(), NEWEST, 10_001), 21_000),
    "decisions, one's own, counted": as_seen(
        SMALL, Action.READ_AUDIT, counting(audit.PAGE), audit.OWNER, (*decided(), NEWEST, 10_001), 200
    ),
    "decisions, the first of all": backwards(audit.PAGE, (*decided(), From(NEWEST, NEWEST)), 200),
    "decisions, before one far down": backwards(audit.PAGE, (*decided(), From(an_id(9, 30_000), NEWEST)), 200),
    "decisions, the first under old policies": backwards(
        audit.PAGE, (*decided(policy_set=AN_OLD_SET), From(NEWEST, NEWEST)), 200
    ),
    "decisions, oldest first, far down": backwards(
        audit.PAGE, (*decided(), From(NEWEST, NEWEST)), 200,
        Place(audit.SORTS["decided"], descending=True, at=(NOW - timedelta(days=5), an_id(9, 30_000))),
    ),
    **{
        f"decisions, oldest first, {name}": in_order_of(
            audit.PAGE, (*decided(**asked), From(NEWEST, NEWEST)), most, Place(audit.SORTS["decided"], descending=False)
        )
        for name, (asked, most) in OLDEST_FIRST.items()
    },
    "decisions, one's own, the first": seen_in_order(
        SMALL, Action.READ_AUDIT, audit.PAGE, audit.OWNER, (*decided(), From(NEWEST, NEWEST)), 200,
        size=Size(50, backwards=True), place=None,
    ),
    "decisions, one's own, oldest first, far down": seen_in_order(
        SMALL, Action.READ_AUDIT, audit.PAGE, audit.OWNER, (*decided(), From(NEWEST, NEWEST)), 200,
        size=Size(50),
        place=Place(audit.SORTS["decided"], descending=False, at=(NOW - timedelta(days=7), an_id(9, 30_000))),
    ),
    "decisions, far down": Query(audit.PAGE, (*decided(), an_id(9, 30_000), 51), 200),
    "decisions of one": Query(audit.PAGE, (*decided(institution=HOUSE), NEWEST, 51), 200),
    "decisions by actor": Query(audit.PAGE, (*decided(actor="client-7"), NEWEST, 51), 200),
    "decisions of a kind that is rare": Query(audit.PAGE, (*decided(kind="surge.declared"), NEWEST, 51), 100),
    "decisions to refuse": Query(audit.PAGE, (*decided(outcome="refused"), NEWEST, 51), 200),
    "decisions by action": Query(audit.PAGE, (*decided(action="declareSurge"), NEWEST, 51), 100),
    "decisions of a resource": Query(audit.PAGE, (*decided(resource="resource-7"), NEWEST, 51), 500),
    "decisions under old policies": Query(audit.PAGE, (*decided(policy_set=AN_OLD_SET), NEWEST, 51), 200),
    "decisions of a day": Query(audit.PAGE, (*decided(**A_DAY), NEWEST, 51), 200),
    "decisions of a day, of one": Query(audit.PAGE, (*decided(institution=HOUSE, **A_DAY), NEWEST, 51), 100),
    "counts of one": Query(inspection.FACETS, (*decided(institution=HOUSE), 50), 400),
    "counts of a day": Query(inspection.FACETS, (*decided(**A_DAY), 50), 6_000),
    "counts of refusals": Query(inspection.FACETS, (*decided(outcome="refused"), 50), 500),
    "counts of a resource": Query(inspection.FACETS, (*decided(resource="resource-7"), 50), 1_000),
    "things of a case": Query(inspection.THINGS, (an_id(4, 500),), 200),
    "the story of a case": Query(inspection.STORY, (an_id(4, 500), None, 501), 500),
    "the story of a transfer": Query(inspection.STORY, (an_id(5, 500), None, 501), 500),
    "which entries are of a day": Query(log.OF_PERIOD, (*A_DAY.values(), 39_900), 4_500),
    "entries of a day": Query(log.BODIES, (20_000, 21_000), 2_500),
    "policy sets of a day": Query(log.POLICY_SETS, (20_000, 21_000), 2_500),
    "forecasts behind a plan": Query(forecasts.BEHIND_A_PLAN, (REGION, BEDS, TODAY, NOW), 1_500),
    "a decision": Query(audit.BY_ID, (an_id(9, 500),), 10),
    "entries that wait to be sealed": Query(log.FRESH, (39_900, 8192, 2**24), 500, SEQUENCER),
}


@pytest.fixture(scope="module")
def filled(database_server: TestServer, database_template: str) -> Iterator[str]:
    """A database with years of use in it."""
    name = f"{database_template}_filled"

    async def fill() -> None:
        await database_server.make(name, database_template)
        admin = await asyncpg.connect(database_server.url(name))
        try:
            await admin.execute(FILL)
        finally:
            await admin.close()

    asyncio.run(fill())
    yield name
    asyncio.run(database_server.drop(name))


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _read(node: Mapping[str, Any]) -> int:
    """Rows a scan looked at, returned or not."""
    if "Relation Name" not in node:
        return 0
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int(rows * node["Actual Loops"])


def _literal(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool() | int():
            return str(value)
        case list():
            return "'{" + ",".join(map(str, value)) + "}'"
        case _:
            return f"'{value}'"


async def _explained(conn: asyncpg.Connection[Any], query: Query) -> list[Mapping[str, Any]]:
    """The nodes of the plan that is used once the prepared statement has run often enough for a generic one."""
    arguments = f"({', '.join(map(_literal, query.arguments))})" if query.arguments else ""
    await conn.execute(f"prepare q as {query.statement}")
    for _ in range(6):
        await conn.execute(f"execute q{arguments}")
    plan = json.loads(await conn.fetchval(f"explain (analyze, timing off, format json) execute q{arguments}"))
    return list(_nodes(plan[0]["Plan"]))


@pytest.mark.parametrize("name", QUERIES)
async def test_a_query_goes_by_index_and_reads_little_more_than_it_returns(
    database_server: TestServer, filled: str, name: str
) -> None:
    query = QUERIES[name]
    reads = "for update" not in query.statement
    async with (
        open_pool(database_server.url(filled, query.role), query.role) as pool,
        Database(pool).transaction(read_only=reads, reader=query.reader) as tx,
    ):
        nodes = await _explained(tx.conn, query)
        big = await _big_tables(tx.conn)
    assert [n["Relation Name"] for n in nodes if n["Node Type"] == "Seq Scan" and n["Relation Name"] in big] == []
    read = {f"{n['Node Type']} {n.get('Relation Name', '')}": _read(n) for n in nodes if _read(n)}
    assert sum(read.values()) <= query.most, read


NOUNS = {
    "offers": (offers, 3), "requests": (requests, 4), "transfers": (transfers, 5), "institutions": (institutions, 1),
}  # fmt: skip
FIRST_PAGE = {
    "offers": (NEWEST, None, None, False, NOW), "requests": (NEWEST, None, None, None),
    "transfers": (NEWEST, None, None, None), "institutions": (UUID(int=0), None),
}  # fmt: skip


@pytest.mark.parametrize("name", NOUNS)
@pytest.mark.parametrize("items", [1, 51, 1001])
@pytest.mark.parametrize("way", ["forwards", "before one", "from its end"])
async def test_a_list_that_is_read_at_once_goes_by_its_key_whatever_page_was_read_before(
    database_server: TestServer, filled: str, name: str, items: int, way: str
) -> None:
    module, kind = NOUNS[name]
    page = FIRST_PAGE[name]
    far = (an_id(kind, 900), *page[1:])
    listed = Listed(module.PAGE, (From(far[0] if way == "before one" else page[0], page[0]), *page[1:], LIMIT))
    here = listed.paged(Size(items, backwards=way != "forwards"))
    text = written(module.WRITTEN, Wanted((_members(module.WRITTEN),)), here.statement, len(page) + 1, (), told=False)
    runs = [(*far, 1001), (*page, 1), (*page, 1001), here.given(items - 1)]
    read = await _read_outside(database_server.url(filled, GATEWAY), text, runs, PLATFORM)
    assert read <= 3 * items + 10


@pytest.mark.parametrize("name", NOUNS)
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("caller", ["small", "coastal"])
async def test_one_that_is_read_at_once_goes_by_its_key_and_so_does_what_it_names(
    database_server: TestServer, filled: str, name: str, caller: str, *, linked: bool
) -> None:
    module, kind = NOUNS[name]
    who = SMALL if caller == "small" else COASTAL
    links = tuple(Linked(e, _members(e.noun.columns)) for e in module.WRITTEN.edges.values()) if linked else ()
    seen = [_seen(who, link) for link in links]
    members: Members = (*_members(module.WRITTEN), *((f"l{n}", link) for n, link in enumerate(links)))
    texts = tuple((each.text, len(each.values)) for each in seen)
    text = written_one(module.WRITTEN, WantedOne(members, links=links), module.BY_ID, texts)
    values = [value for each in seen for value in each.values]
    runs = [(an_id(kind, number), *values) for number in (500, 501, 353, 700)]
    url = database_server.url(filled, GATEWAY)
    assert await _read_outside(url, text, runs, reader_of(who)) <= 30 + 60 * len(links)


USUAL: dict[str, dict[str, Any]] = {
    "offers": {"before": NEWEST, "institution": None, "resource": None, "only_open": False},
    "requests": {"before": NEWEST, "institution": None, "resource": None, "status": None},
    "transfers": {"before": NEWEST, "party": None, "state": None, "allocation": None},
    "institutions": {"after": UUID(int=0), "region": None},
}
NARROW: dict[str, tuple[str, dict[str, Any]]] = {
    "offers of one": ("offers", {"institution": HOUSE}), "offers of a resource": ("offers", {"resource": BEDS}),
    "open offers": ("offers", {"only_open": True}), "joined offers": ("offers", {}),
    "offers of a region": ("offers", {"matching": offers.OfferFilter(region=REGION)}),
    "requests in a state": ("requests", {"status": "open"}), "transfers of one": ("transfers", {"party": HOUSE}),
    "institutions of a region": ("institutions", {"region": REGION}),
}  # fmt: skip


@pytest.mark.parametrize("name", NARROW)
async def test_a_list_that_is_narrowed_or_joined_is_planned_for_its_own_values(
    database_server: TestServer, filled: str, tmp_path: Path, name: str
) -> None:
    noun, given = NARROW[name]
    module = NOUNS[noun][0]
    id_alone = (("id", "id"),)
    links = () if given else (Linked(module.WRITTEN.edges["institution_edge"], id_alone),)
    narrow = Wanted(((*id_alone, *(("institution", link) for link in links)),), links=links)
    usual = {"first": 50, "matching": getattr(module, f"{noun[:-1].title()}Filter")(), **USUAL[noun]}
    async with open_pool(database_server.url(filled, GATEWAY), GATEWAY, most=1) as pool:
        service = getattr(build_services(Settings(home=tmp_path), Database(pool), AUTHORIZER), noun)
        for _ in range(7):
            await service.write_page(PLANNER, Wanted((id_alone,)), **usual)
            await service.write_page(PLANNER, narrow, **{**usual, **given})
        async with pool.acquire() as conn:
            known = await conn.fetch(SENT, f" from sharewell.{noun[:-1]}\n where id ")
    plans = {"sharewell.reader" in row["statement"]: (row["generic_plans"], row["custom_plans"]) for row in known}
    assert plans[False] == (0, 7)
    assert sum(plans[True]) == 7  # the whole list takes one round trip


SENT = "select statement, generic_plans, custom_plans from pg_prepared_statements where strpos(statement, $1) > 0"
PLANNER = Caller(principal="p", roles=frozenset({Role.ALLOCATOR}), scopes=frozenset({"system/*.rs"}))


def _members(columns: Columns) -> tuple[tuple[str, str], ...]:
    return tuple((name, name) for name in columns.texts)


def _seen(caller: Caller, link: Linked) -> Predicate:
    action = ONE_BY_ONE.get(link.edge.noun.kind)
    return EVERYTHING if action is None else AUTHORIZER.filter(caller, action)


async def _read_outside(url: str, text: str, runs: list[tuple[Any, ...]], reader: str) -> int:
    """How many rows the last of `runs` reads, each without a transaction and after many of those before it."""
    async with open_pool(url, GATEWAY, most=1) as pool, pool.acquire() as conn:
        await conn.execute(f"prepare q as {_read_at_once(text, len(runs[0]) + 1)}")
        asked = [", ".join(_literal(list(v) if isinstance(v, tuple) else v) for v in (*run, reader)) for run in runs]
        for _ in range(6):
            for each in asked[:-1]:
                await conn.execute(f"execute q({each})")
        plan = json.loads(await conn.fetchval(f"explain (analyze, timing off, format json) execute q({asked[-1]})"))
        return sum(map(_read, _nodes(plan[0]["Plan"])))


async def _big_tables(conn: asyncpg.Connection[Any]) -> set[str]:
    return {
        row["relname"]
        for row in await conn.fetch("select relname from pg_class where reltuples >= $1 and relkind = 'r'", BIG)
    }


async def test_the_tables_are_filled_enough_for_this_to_mean_something(
    database_server: TestServer, filled: str
) -> None:
    conn = await asyncpg.connect(database_server.url(filled, DatabaseRole.MIGRATOR))
    try:
        big = await _big_tables(conn)
    finally:
        await conn.close()
    nouns = {"capacity_report", "offer", "request", "transfer", "transfer_step", "forecast", "allocation", "feed"}
    assert nouns | {"header", "entry", "leaf"} <= big
