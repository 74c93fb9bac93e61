"""What regulators ask of many decisions at once: counts by what they say, what is held, the story of one case."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sharewell.domain.audit import parse_entry
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.audit import MATCHES, OWNER, PLAN_FOR_THE_FILTERS, DecisionFilter, RecordedDecision
from sharewell.store.paging import SEEN, narrowed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

#: The most frequent values of each facet, $12 of each; in one pass over what matches, and one more for the resources.
FACETS = f"""
with matched as (
  select d.kind, d.outcome, d.actor, d.institution, d.action, d.policy_set from audit.decision d where {MATCHES}),
counted (facet, value, decisions) as (
  select case grouping(kind, outcome, actor, institution, action, policy_set)
           when 31 then 'kind' when 47 then 'outcome' when 55 then 'actor' when 59 then 'institution'
           when 61 then 'action' else 'policy_set' end,
         coalesce(kind, outcome, actor, institution::text, action, policy_set), count(*)
    from matched group by grouping sets ((kind), (outcome), (actor), (institution), (action), (policy_set))
  union all
  select 'resource', code, count(*) from audit.decision d, unnest(d.resources) code where {MATCHES} group by code)
select facet, value, decisions from (
  select *, row_number() over (partition by facet order by decisions desc, value) as place from counted) ranked
 where place <= $12 order by facet, decisions desc, value
"""

#: What is held of each year and kind. Kinds $1 must be kept from the times $2 on; others, which this release does not
#: know, for ever.
HELD = """
select extract(year from d.at at time zone 'UTC')::integer as year, d.kind, count(*) as decisions,
       min(d.at) as first, max(d.at) as last, count(*) filter (where d.at < k.since) as over,
       min(l.log_index) filter (where (d.at < k.since) is not true) as first_kept
  from audit.decision d left join unnest($1::text[], $2::timestamptz[]) k (kind, since) using (kind)
       left join audit.leaf l using (staged_id)
 group by 1, 2 order by 1, 2
"""

# Ids go on as arrays: few are expected then, and each is looked up by index.
#: What a request, a transfer or a run, $1, has to do with: the request with what became of its rest, or all of a run.
_THINGS = """
with recursive asked (id) as (
  select id from sharewell.request where id = $1
  union select request_id from sharewell.transfer where id = $1
  union select case_of.id
    from asked cross join lateral (
      select remainder_of as id from sharewell.request q where q.id = asked.id and remainder_of is not null
      union all select q.id from sharewell.request q where q.remainder_of = asked.id) case_of),
moved as (
  select id, offer_id, request_id, allocation_id from sharewell.transfer
   where request_id = any(array(select id from asked))
  union select id, offer_id, request_id, allocation_id from sharewell.transfer where allocation_id = $1),
run (id) as (
  select allocation_id from moved
  union select allocation_id from sharewell.unfilled where request_id = any(array(select id from asked))
  union select id from sharewell.allocation where id = $1),
departed as (
  select decision_id from sharewell.override where transfer_id = any(array(select id from moved))
  union select decision_id from sharewell.override where replacement_id = any(array(select id from moved))
  union select decision_id from sharewell.deviation where transfer_id = any(array(select id from moved))),
thing (kind, id) as (
  select 'request', id from asked union select 'request', request_id from moved union select 'transfer', id from moved
  union select 'allocation', id from run)"""
THINGS = f"{_THINGS} select kind, id from thing order by kind, id"
#: Every decision of such a case, in order of time; with $2, only those about that institution.
STORY = f"""{_THINGS},
told (id) as (
  select d.id from audit.decision d where d.subject_id = any(array(select id::text from thing))
  union select s.decision_id from sharewell.transfer_step s where s.transfer_id = any(array(select id from moved))
  union select o.decision_id from sharewell.offer o where o.id = any(array(select offer_id from moved))
  union select a.decision_id from sharewell.allocation a where a.id = any(array(select id from run))
  union select decision_id from departed)
select e.body, e.staged_at, l.log_index
  from audit.decision d join audit.entry e using (staged_id) left join audit.leaf l using (staged_id)
 where d.id = any(array(select id from told)) and ($2::uuid is null or d.institution = $2) and {SEEN}
 order by d.at, d.staged_id limit $3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValue:
    """How many of the decisions that match have this value."""

    facet: str  #: what of a decision is counted, such as `kind`
    value: str | None  #: None: those without one
    decisions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Decisions of one kind and year that are held."""

    year: int
    kind: str
    decisions: int
    first: datetime
    last: datetime
    over: int  #: of which so many need not be kept any longer
    first_kept: int | None  #: lowest index of those that must be kept; None where none is sealed


class InspectionRepository:
    """Decisions as regulators look at them."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def facets(
        self, matching: DecisionFilter, most: int, seen: Predicate = EVERYTHING
    ) -> list[FacetValue]:
        """The most frequent values of each facet among what matches."""
        await self._conn.execute(PLAN_FOR_THE_FILTERS)
        statement = narrowed(FACETS, seen, OWNER, 12)
        rows = await self._conn.fetch(statement, *matching.values(), most, *seen.values)
        return [FacetValue(**row) for row in rows]

    async def held(self, kept_since: Mapping[str, datetime]) -> list[Held]:
        """What is held, by year and kind; `kept_since`: by kind, from when on decisions must be kept."""
        return [Held(**row) for row in await self._conn.fetch(HELD, list(kept_since), list(kept_since.values()))]

    async def things(self, id: UUID) -> list[tuple[str, UUID]]:  # noqa: A002
        """Kind and id of all that the case of a request, a transfer or a run consists of; none if it is neither."""
        return [(row["kind"], row["id"]) for row in await self._conn.fetch(THINGS, id)]

    async def story(
        self, id: UUID, institution: UUID | None, most: int, seen: Predicate = EVERYTHING  # noqa: A002
    ) -> list[RecordedDecision]:
        """Its decisions in order of time, at most `most`."""
        rows = await self._conn.fetch(narrowed(STORY, seen, OWNER, 3), id, institution, most, *seen.values)
        return [
            RecordedDecision(
                decision=parse_entry(row["body"]), entry=row["body"], staged_at=row["staged_at"],
                log_index=row["log_index"],
            )
            for row in rows
        ]  # fmt: skip
