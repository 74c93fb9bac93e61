-- What lists can be ordered by: a page begins in such an index just behind its cursor, and the rows follow in it.
-- A list of one institution needs none: its rows are few beside all, and are sorted.

create index on sharewell.offer (available_until, id);
create index on sharewell.offer (quantity, id);
-- Not by coalesce: behind row-level security PostgreSQL looks up no condition that it does not know to be leakproof.
create index on sharewell.offer ((case when expires_on is null then 'infinity' else expires_on end), id);
create index on sharewell.request (needed_by, id);
create index on sharewell.request (urgency, id);
create index on sharewell.transfer (changed_at, id);
create index on sharewell.transfer (quantity, id);
-- By code point, as the lists say: else it would be for the locale of the database.
create index on sharewell.institution (name collate "C", id);
create index on sharewell.institution (code collate "C", id);
create index on sharewell.capacity_report (as_of, id);
