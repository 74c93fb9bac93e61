-- Allocation runs: the instance that was solved, the plan that was adopted, and what sharing changed.

create table sharewell.allocation (
  id              uuid primary key,
  region          text not null,
  resource        text not null references sharewell.resource (code),
  instance_sha256 text not null references sharewell.artifact (sha256),
  plan_sha256     text not null references sharewell.artifact (sha256),
  owners          integer not null,
  receivers       integer not null,
  needed          integer not null,
  assigned        integer not null,
  measures        jsonb not null,
  solver          jsonb not null,
  adopted_at      timestamptz not null,
  decision_id     uuid not null unique references audit.decision (id)
);
create index on sharewell.allocation (region, resource, adopted_at desc);
create unique index one_plan_per_instance on sharewell.allocation (instance_sha256);

alter table sharewell.transfer
  add foreign key (allocation_id) references sharewell.allocation (id) deferrable initially deferred;

grant select on sharewell.allocation to sharewell_gateway;
grant select, insert on sharewell.allocation to sharewell_worker;
