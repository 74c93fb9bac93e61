-- What lists can be ordered by: a page begins in such an index just behind its cursor, and the rows follow in it.
-- A list of one institution is in order once its rows are sorted, which are few beside all; a deep one of requests has an
-- index of its own.

create index on sharewell.offer (available_until, id);
create index on sharewell.offer (quantity, id);
create index on sharewell.offer ((coalesce(expires_on, 'infinity')), id);
create index on sharewell.request (needed_by, id);
create index on sharewell.request (urgency, id);
create index on sharewell.request (institution_id, id);
create index on sharewell.transfer (changed_at, id);
create index on sharewell.transfer (quantity, id);
create index on sharewell.institution (name, id);
create index on sharewell.capacity_report (as_of, id);
