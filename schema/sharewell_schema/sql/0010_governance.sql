-- Governance: what was really moved, departures from a plan by override and by deed, surge mode, standing consent,
-- receipts and reasons of each run.

-- A transfer knows what really left and arrived, and can be taken out of its plan by an override.
alter table sharewell.transfer
  add column dispatched    integer check (dispatched > 0),
  add column dispatched_at timestamptz,
  add column received      integer check (received > 0),
  add column received_at   timestamptz,
  add check ((dispatched is null) = (dispatched_at is null)),
  add check ((received is null) = (received_at is null)),
  drop constraint transfer_state_check,
  add constraint transfer_state_check check (state in
    ('proposed', 'held', 'confirmed', 'declined', 'expired', 'cancelled', 'dispatched', 'received', 'return_due',
     'returned'));
-- Steps taken before there were these columns moved what was adopted.
with moved as (
  select transfer_id, max(at) filter (where state = 'dispatched') as dispatched_at,
         max(at) filter (where state = 'received') as received_at
    from sharewell.transfer_step where state in ('dispatched', 'received') group by transfer_id)
update sharewell.transfer t
   set dispatched = case when m.dispatched_at is not null then t.quantity end, dispatched_at = m.dispatched_at,
       received = case when m.received_at is not null then t.quantity end, received_at = m.received_at
  from moved m where m.transfer_id = t.id;

drop index sharewell.transfer_resource_giver_id_idx;
create index on sharewell.transfer (resource, giver_id)
  where state not in ('declined', 'expired', 'cancelled', 'returned');
create index on sharewell.transfer (hold_until) where state = 'confirmed';
create index on sharewell.transfer (giver_id, dispatched_at) where dispatched_at is not null;
create index on sharewell.transfer (receiver_id, received_at) where received_at is not null;
create index on sharewell.transfer_step (at)
  where state in ('confirmed', 'declined', 'dispatched', 'cancelled');

-- As before; units that did not leave are free again, and units beyond the pledge were never promised.
create or replace function sharewell.count_promised_units() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  freed constant text[] := array['declined', 'expired', 'cancelled', 'returned'];
  before integer := 0;
  after integer := 0;
begin
  if tg_op = 'UPDATE' then
    if (old.offer_id, old.request_id, old.giver_id, old.receiver_id, old.resource, old.quantity)
       is distinct from
       (new.offer_id, new.request_id, new.giver_id, new.receiver_id, new.resource, new.quantity) then
      raise exception 'a transfer changes its state, never its units or parties' using errcode = 'SW002';
    end if;
    if not old.state = any (freed) then before := least(old.quantity, old.dispatched); end if;
  end if;
  if not new.state = any (freed) then after := least(new.quantity, new.dispatched); end if;
  if after <> before then
    update sharewell.offer set promised = promised + after - before
     where id = new.offer_id and (after < before or status = 'open');
    if not found then
      raise exception 'the offer is withdrawn' using errcode = 'SW003';
    end if;
  end if;
  insert into sharewell.transfer_step (transfer_id, state, at, decision_id)
    select new.id, new.state, new.changed_at, new.decision_id
     where tg_op = 'INSERT' or old.state is distinct from new.state;
  return null;
end $$;

-- Free text beside a coded reason. The log holds its salted hash only: what a person typed can be removed from here, and
-- then nobody can tell from the log what it was.
create table sharewell.remark (
  decision_id uuid primary key references audit.decision (id),
  salt        text not null check (salt ~ '^[0-9a-f]{32}$'),
  body        text not null check (length(body) between 1 and 500)
);

-- Departures from an adopted plan on purpose, each by a code.
create table sharewell.override (
  id             uuid primary key,
  kind           text not null check (kind in ('cancel', 'reassign', 'move_unconfirmed')),
  code           text not null,
  transfer_id    uuid not null unique references sharewell.transfer (id),
  request_id     uuid references sharewell.request (id),
  replacement_id uuid references sharewell.transfer (id),
  giver_id       uuid not null references sharewell.institution (id),
  receiver_id    uuid not null references sharewell.institution (id),
  client         text not null,
  made_at        timestamptz not null,
  decision_id    uuid not null unique references audit.decision (id),
  check ((kind = 'reassign') = (request_id is not null)),
  check ((kind = 'reassign') = (replacement_id is not null))
);
create index on sharewell.override (made_at);
create index on sharewell.override (giver_id, id);
create index on sharewell.override (replacement_id) where replacement_id is not null;
create index on sharewell.override (receiver_id, id);

-- Only the planner makes transfers; the one exception follows from an override. It moves the very units of a transfer
-- that the same transaction has just taken out of its plan, and they are held anew for their giver to confirm.
create function sharewell.reassign_transfer(
  old_id uuid, new_id uuid, to_request uuid, why text, until timestamptz, at timestamptz, decision uuid
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into sharewell.transfer (id, offer_id, request_id, giver_id, receiver_id, resource, quantity, state, reason,
                                  allocation_id, hold_until, changed_at, decision_id)
    select new_id, t.offer_id, q.id, t.giver_id, q.institution_id, t.resource, t.quantity, 'held', why,
           t.allocation_id, until, at, decision
      from sharewell.transfer t join sharewell.request q on q.id = to_request and q.resource = t.resource
     where t.id = old_id and t.state = 'cancelled' and t.decision_id = decision and until > at;
  if not found then
    raise exception 'only units that an override has just freed can be reassigned' using errcode = 'SW002';
  end if;
end $$;

-- What was done otherwise than adopted without saying so; each kind at most once for a transfer.
create table sharewell.deviation (
  id          uuid primary key,
  kind        text not null check (kind in ('dispatched_less', 'dispatched_more', 'dispatched_late', 'not_dispatched',
                                            'taken_back', 'received_less', 'received_more', 'outside_plan')),
  transfer_id uuid references sharewell.transfer (id) check ((transfer_id is null) = (kind = 'outside_plan')),
  giver_id    uuid not null references sharewell.institution (id),
  receiver_id uuid not null references sharewell.institution (id),
  resource    text not null references sharewell.resource (code),
  adopted     integer not null check (adopted >= 0),
  moved       integer not null check (moved >= 0),
  detected_at timestamptz not null,
  decision_id uuid not null unique references audit.decision (id),
  unique (transfer_id, kind)
);
create index on sharewell.deviation (giver_id, id);
create index on sharewell.deviation (receiver_id, id);

-- Surge mode: while it is in force, holds are short and standing consents count. It is in force only from the moment
-- its declaration is under a signed checkpoint of the log, and ends by itself.
create table sharewell.surge_mode (
  id          uuid primary key,
  region      text not null,
  resource    text references sharewell.resource (code),
  reason      text not null,
  declared_at timestamptz not null,
  until       timestamptz not null check (until > declared_at and until <= declared_at + interval '72 hours'),
  renews      uuid references sharewell.surge_mode (id),
  client      text not null,
  ended_at    timestamptz,
  ending      text check (ending in ('ended', 'expired', 'renewed')),
  decision_id uuid not null unique references audit.decision (id),
  ended_by    uuid references audit.decision (id),
  check ((ended_at is null) = (ending is null) and (ended_at is null) = (ended_by is null))
);
create unique index one_surge_mode_at_a_time on sharewell.surge_mode (region, resource) nulls not distinct
  where ended_at is null;
create index on sharewell.surge_mode (until) where ended_at is null;
create index on sharewell.surge_mode (region, id);

-- What an owner lets be confirmed in its name while surge mode is in force.
create table sharewell.consent (
  id             uuid primary key,
  institution_id uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  given_at       timestamptz not null,
  until          timestamptz not null check (until > given_at),
  withdrawn_at   timestamptz,
  decision_id    uuid not null references audit.decision (id)
);
create index on sharewell.consent (institution_id, id);
create index on sharewell.consent (institution_id, resource) where withdrawn_at is null;

-- What one run meant to one institution, against what it would have had alone.
create table sharewell.run_receipt (
  allocation_id  uuid not null references sharewell.allocation (id),
  institution_id uuid not null references sharewell.institution (id),
  adopted_at     timestamptz not null,
  resource       text not null references sharewell.resource (code),
  given          integer not null,
  received       integer not null,
  stock          integer not null,
  kept           integer not null,
  short_alone    integer not null,
  short_shared   integer not null,
  primary key (allocation_id, institution_id),
  constraint nobody_is_worse_off check (short_shared <= short_alone and (given = 0 or stock - given >= kept))
);
create index on sharewell.run_receipt (institution_id, adopted_at);

-- What each run left open of each request, and why.
create table sharewell.unfilled (
  allocation_id  uuid not null references sharewell.allocation (id),
  request_id     uuid not null references sharewell.request (id),
  institution_id uuid not null references sharewell.institution (id),
  quantity       integer not null check (quantity > 0),
  code           text not null,
  reason         text not null,
  primary key (request_id, allocation_id)
);
create index on sharewell.unfilled (allocation_id, institution_id);

create trigger never_rewritten before update or delete or truncate on sharewell.override
  for each statement execute function sharewell.never_rewritten();
create trigger never_rewritten before update or delete or truncate on sharewell.deviation
  for each statement execute function sharewell.never_rewritten();
create trigger never_rewritten before update or delete or truncate on sharewell.run_receipt
  for each statement execute function sharewell.never_rewritten();
create trigger never_rewritten before update or delete or truncate on sharewell.unfilled
  for each statement execute function sharewell.never_rewritten();
alter table sharewell.override enable always trigger never_rewritten;
alter table sharewell.deviation enable always trigger never_rewritten;
alter table sharewell.run_receipt enable always trigger never_rewritten;
alter table sharewell.unfilled enable always trigger never_rewritten;

grant execute on function sharewell.reassign_transfer to sharewell_gateway;
grant update (dispatched, dispatched_at, received, received_at) on sharewell.transfer
  to sharewell_gateway, sharewell_worker;
grant select on sharewell.remark, sharewell.override, sharewell.deviation, sharewell.surge_mode, sharewell.consent,
  sharewell.run_receipt, sharewell.unfilled to sharewell_gateway, sharewell_worker;
grant insert on sharewell.remark, sharewell.override, sharewell.deviation, sharewell.surge_mode, sharewell.consent
  to sharewell_gateway;
grant update (ended_at, ending, ended_by) on sharewell.surge_mode to sharewell_gateway, sharewell_worker;
grant update (withdrawn_at, decision_id) on sharewell.consent to sharewell_gateway;
grant insert on sharewell.deviation, sharewell.run_receipt, sharewell.unfilled to sharewell_worker;
