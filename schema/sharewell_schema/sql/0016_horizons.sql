-- Schedules over the days ahead: what a region was planned for, day by day, and what of it bound at once.

create table sharewell.horizon (
  id              uuid primary key,
  region          text not null,
  resources       text[] not null check (cardinality(resources) > 0),
  days            smallint not null check (days between 1 and 28),
  level           smallint not null check (level between 1 and 999),
  hold_days       smallint not null check (hold_days between 0 and 28),
  starts_at       timestamptz not null,
  instance_sha256 text not null unique references sharewell.artifact (sha256),
  schedule_sha256 text not null references sharewell.artifact (sha256),
  sites           integer not null,
  lanes           integer not null,
  measures        jsonb not null,
  stages          jsonb not null,
  search          jsonb not null,
  adopted_at      timestamptz not null,
  decision_id     uuid not null unique references audit.decision (id)
);
create index on sharewell.horizon (region, id desc);

-- What each institution needs and lacks on each day with and without sharing, in thousandths of a unit.
create table sharewell.horizon_day (
  horizon_id     uuid not null references sharewell.horizon (id),
  institution_id uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  day            smallint not null,
  need           integer not null,
  short_alone    integer not null,
  short_shared   integer not null,
  given          integer not null,
  received       integer not null,
  primary key (horizon_id, institution_id, resource, day),
  constraint nobody_is_worse_off_on_any_day check (short_shared <= short_alone)
);

-- What leaves on which day; `held` of it was held for requests when the schedule was adopted, on day 0 only.
create table sharewell.horizon_movement (
  horizon_id  uuid not null references sharewell.horizon (id),
  place       integer not null,
  resource    text not null references sharewell.resource (code),
  day         smallint not null,
  arrives     smallint not null check (arrives >= day),
  giver_id    uuid not null references sharewell.institution (id),
  receiver_id uuid not null references sharewell.institution (id),
  units       integer not null check (units > 0),
  held        integer not null check (held between 0 and units),
  metres      integer not null,
  primary key (horizon_id, place),
  check (giver_id <> receiver_id),
  check (held = 0 or day = 0)
);

-- What stays short over all the days, in thousandths of a unit for a day, and why.
create table sharewell.horizon_unmet (
  horizon_id     uuid not null references sharewell.horizon (id),
  institution_id uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  thousandths    bigint not null check (thousandths > 0),
  code           text not null,
  reason         text not null,
  asked          integer not null check (asked >= 0),
  primary key (horizon_id, institution_id, resource)
);

create trigger never_rewritten before update or delete or truncate on sharewell.horizon
  for each statement execute function sharewell.never_rewritten();
create trigger never_rewritten before update or delete or truncate on sharewell.horizon_day
  for each statement execute function sharewell.never_rewritten();
create trigger never_rewritten before update or delete or truncate on sharewell.horizon_movement
  for each statement execute function sharewell.never_rewritten();
create trigger never_rewritten before update or delete or truncate on sharewell.horizon_unmet
  for each statement execute function sharewell.never_rewritten();
alter table sharewell.horizon enable always trigger never_rewritten;
alter table sharewell.horizon_day enable always trigger never_rewritten;
alter table sharewell.horizon_movement enable always trigger never_rewritten;
alter table sharewell.horizon_unmet enable always trigger never_rewritten;

call audit.guard('sharewell.horizon', true);
call audit.guard('sharewell.horizon_day', false);
call audit.guard('sharewell.horizon_movement', false);
call audit.guard('sharewell.horizon_unmet', false);

-- Day 0 of a schedule is a run for each of its resources, all of one instance and one decision.
alter table sharewell.allocation add column horizon_id uuid references sharewell.horizon (id);
create index on sharewell.allocation (horizon_id) where horizon_id is not null;
drop index sharewell.one_plan_per_instance;
create unique index one_plan_per_instance on sharewell.allocation (instance_sha256, resource);
alter table sharewell.allocation drop constraint allocation_decision_id_key;
create unique index one_run_per_decision_and_resource on sharewell.allocation (decision_id, resource);

grant select on sharewell.horizon, sharewell.horizon_day, sharewell.horizon_movement, sharewell.horizon_unmet
  to sharewell_gateway, sharewell_worker;
grant insert on sharewell.horizon, sharewell.horizon_day, sharewell.horizon_movement, sharewell.horizon_unmet
  to sharewell_worker;
