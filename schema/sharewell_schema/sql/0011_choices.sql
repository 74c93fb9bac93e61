-- The fairness rule that the people bound by it chose, by region and resource; the newest is in force. Credit for those
-- short-changed before, as each run left it. What a request raises above forecast and census, and why.

create table sharewell.choice (
  id          uuid primary key,
  region      text not null,
  resource    text not null references sharewell.resource (code),
  fairness    jsonb not null,
  reserves    jsonb not null,
  chosen_at   timestamptz not null,
  decision_id uuid not null unique references audit.decision (id)
);
create index on sharewell.choice (region, resource, id desc);
create trigger never_rewritten before update or delete or truncate on sharewell.choice
  for each statement execute function sharewell.never_rewritten();
alter table sharewell.choice enable always trigger never_rewritten;

create table sharewell.credit (
  allocation_id  uuid not null references sharewell.allocation (id),
  institution_id uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  thousandths    integer not null check (thousandths between -1000000000 and 1000000000),
  decision_id    uuid not null references audit.decision (id),
  primary key (allocation_id, institution_id)
);
create index on sharewell.credit (resource, institution_id, allocation_id desc);
create trigger never_rewritten before update or delete or truncate on sharewell.credit
  for each statement execute function sharewell.never_rewritten();
alter table sharewell.credit enable always trigger never_rewritten;

-- Runs before this release all had the default rule and no reserves.
alter table sharewell.allocation
  add column fairness jsonb not null default
    '{"rule": "floor", "theta": 1000, "alpha": 2000, "buckets": 10, "urgency_weights": [1, 2, 3, 4, 5], "memory": 0,
      "credit": 0}',
  add column reserves jsonb not null default '[]';
alter table sharewell.allocation alter column fairness drop default, alter column reserves drop default;

alter table sharewell.request
  add column raised integer not null default 0,
  add column raise_reason text,
  add check (raised between 0 and requested),
  add check ((raised > 0) = (raise_reason is not null));
alter table sharewell.request alter column raised drop default;

-- Credit as it stood before a run and after it, in thousandths of a unit; runs so far remembered none.
alter table sharewell.run_receipt
  add column credit_before integer not null default 0,
  add column credit_after  integer not null default 0;
alter table sharewell.run_receipt alter column credit_before drop default, alter column credit_after drop default;

-- What is coming to an institution, and no report of its own shows yet.
create index on sharewell.transfer (resource, receiver_id)
  where state in ('held', 'confirmed', 'dispatched', 'received', 'return_due');

grant select, insert on sharewell.choice to sharewell_gateway;
grant select on sharewell.choice to sharewell_worker;
grant select on sharewell.credit to sharewell_gateway;
grant select, insert on sharewell.credit to sharewell_worker;
