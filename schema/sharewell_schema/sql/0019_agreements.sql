-- Sharing agreements: whom an institution lets see more of its numbers than everybody sees, of what, until when.

create table sharewell.agreement (
  id          uuid primary key,
  giver_id    uuid not null references sharewell.institution (id),
  receiver_id uuid not null references sharewell.institution (id),
  resource    text references sharewell.resource (code),
  detail      text not null check (detail in ('counts', 'forecasts')),
  starts_at   timestamptz not null,
  until       timestamptz not null,
  proposed_at timestamptz not null,
  accepted_at timestamptz,
  ended_at    timestamptz,
  decision_id uuid not null references audit.decision (id),
  check (giver_id <> receiver_id),
  check (proposed_at <= starts_at and starts_at < until)
);
create index on sharewell.agreement (giver_id, id);
create index on sharewell.agreement (receiver_id, id);
create index on sharewell.agreement (receiver_id, giver_id) where accepted_at is not null and ended_at is null;

call audit.guard('sharewell.agreement', true);

grant select on sharewell.agreement to sharewell_gateway, sharewell_worker;
grant insert, update (accepted_at, ended_at, decision_id) on sharewell.agreement to sharewell_gateway;
