-- Institutions, the resource catalogue, capacity, offers, requests and transfers.
-- Every row names the decision that made it: no row without its entry in the log.
-- What must never happen is refused here, whatever the application does: units promised twice, a report rewritten.

create table sharewell.institution (
  id            uuid primary key,
  code          text not null unique,
  name          text not null,
  kind          text not null check (kind in ('hospital', 'clinic', 'pharmacy', 'stockpile', 'region', 'agency')),
  region        text not null,
  latitude      double precision check (latitude between -90 and 90),
  longitude     double precision check (longitude between -180 and 180),
  equity_group  text not null,
  status        text not null check (status in ('active', 'suspended', 'observed')),
  registered_at timestamptz not null,
  decision_id   uuid not null references audit.decision (id)
);
create index on sharewell.institution (region, id);

create table sharewell.resource (
  code          text primary key,
  kind          text not null check (kind in ('place', 'device', 'consumable', 'staff')),
  name          text not null,
  unit          text not null,
  standard_code text not null,
  gtin          text not null,
  skill         text not null,
  loan_days     integer not null check ((kind = 'device') = (loan_days > 0)),
  decision_id   uuid not null references audit.decision (id)
);

create table sharewell.capacity_report (
  id             uuid primary key,
  institution_id uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  as_of          timestamptz not null,
  period_days    smallint not null check (period_days between 1 and 31),
  staffed        integer check (staffed >= 0),
  occupied       integer check (occupied >= 0),
  blocked        integer check (blocked >= 0),
  surge_24h      integer check (surge_24h >= 0),
  surge_72h      integer check (surge_72h >= 0),
  waiting        integer check (waiting >= 0),
  admissions     integer check (admissions >= 0),
  source         text not null,
  coverage       smallint,
  marks          jsonb not null,
  corrects       uuid unique references sharewell.capacity_report (id),
  recorded_at    timestamptz not null,
  decision_id    uuid not null references audit.decision (id),
  check (occupied + coalesce(blocked, 0) <= staffed),
  check (surge_24h <= surge_72h)
);
create index on sharewell.capacity_report (institution_id, resource, as_of desc, id desc);
create index on sharewell.capacity_report (resource, as_of);
create index on sharewell.capacity_report (decision_id);

create table sharewell.offer (
  id              uuid primary key,
  institution_id  uuid not null references sharewell.institution (id),
  resource        text not null references sharewell.resource (code),
  quantity        integer not null check (quantity > 0),
  promised        integer not null default 0,
  minimum_kept    integer not null check (minimum_kept >= 0),
  available_from  timestamptz not null,
  available_until timestamptz not null,
  lot             text not null,
  expires_on      date,
  status          text not null check (status in ('open', 'withdrawn')),
  published_at    timestamptz not null,
  decision_id     uuid not null unique references audit.decision (id),
  constraint no_unit_is_promised_twice check (promised between 0 and quantity),
  check (available_from < available_until)
);
create index on sharewell.offer (institution_id, resource, available_until);
create index on sharewell.offer (resource, available_until) where status = 'open';

create table sharewell.request (
  id             uuid primary key,
  institution_id uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  requested      integer not null check (requested > 0),
  approved       integer not null check (approved between 0 and requested),
  fulfilled      integer not null check (fulfilled between 0 and approved),
  urgency        smallint not null check (urgency between 1 and 5),
  needed_by      timestamptz not null,
  needed_until   timestamptz not null,
  reason         text not null,
  status         text not null check (status in ('open', 'approved', 'fulfilled', 'superseded', 'cancelled',
                                                'expired')),
  remainder_of   uuid references sharewell.request (id),
  note           text not null,
  opened_at      timestamptz not null,
  decision_id    uuid not null references audit.decision (id),
  check (needed_by < needed_until)
);
create index on sharewell.request (institution_id, resource, needed_until);
create index on sharewell.request (resource, needed_until) where status = 'open';
create index on sharewell.request (remainder_of) where remainder_of is not null;

create table sharewell.transfer (
  id             uuid primary key,
  offer_id       uuid not null references sharewell.offer (id),
  request_id     uuid not null references sharewell.request (id),
  giver_id       uuid not null references sharewell.institution (id),
  receiver_id    uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  quantity       integer not null check (quantity > 0),
  state          text not null check (state in ('proposed', 'held', 'confirmed', 'declined', 'expired', 'dispatched',
                                                'received', 'return_due', 'returned')),
  reason         text not null,
  allocation_id  uuid not null,
  hold_until     timestamptz not null,
  decline_reason text,
  return_due_at  timestamptz,
  changed_at     timestamptz not null,
  decision_id    uuid not null references audit.decision (id),
  check (giver_id <> receiver_id),
  check ((state = 'declined') = (decline_reason is not null))
);
create index on sharewell.transfer (giver_id, id);
create index on sharewell.transfer (receiver_id, id);
create index on sharewell.transfer (offer_id);
create index on sharewell.transfer (request_id);
create index on sharewell.transfer (allocation_id);
create index on sharewell.transfer (hold_until) where state = 'held';
create index on sharewell.transfer (return_due_at) where state = 'received';
create index on sharewell.transfer (resource, giver_id) where state not in ('declined', 'expired', 'returned');

-- Each step of a transfer, for ever; the transfer row itself is only the newest state.
create table sharewell.transfer_step (
  transfer_id uuid not null references sharewell.transfer (id),
  state       text not null,
  at          timestamptz not null,
  decision_id uuid not null references audit.decision (id),
  primary key (transfer_id, state)
);
create index on sharewell.transfer_step (decision_id);

-- The offer's count of promised units follows its transfers, under the offer's row lock: two plans that want the
-- same unit meet here, and the check `no_unit_is_promised_twice` refuses the second.
create function sharewell.count_promised_units() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  freed constant text[] := array['declined', 'expired', 'returned'];
  before integer := 0;
  after integer := 0;
begin
  if tg_op = 'UPDATE' then
    if (old.offer_id, old.request_id, old.giver_id, old.receiver_id, old.resource, old.quantity)
       is distinct from
       (new.offer_id, new.request_id, new.giver_id, new.receiver_id, new.resource, new.quantity) then
      raise exception 'a transfer changes its state, never its units or parties' using errcode = 'SW002';
    end if;
    if not old.state = any (freed) then before := old.quantity; end if;
  end if;
  if not new.state = any (freed) then after := new.quantity; end if;
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
create trigger count_promised_units after insert or update on sharewell.transfer
  for each row execute function sharewell.count_promised_units();

-- The same unit cannot be pledged in two offers whose windows overlap: all of an institution's open pledges of a
-- resource, what its withdrawn ones have promised already, and what it keeps, fit in what its newest report shows as
-- free. A report that another corrects does not count. The advisory lock makes two offers published at the same
-- instant see each other.
create function sharewell.units_free_to_pledge(institution uuid, code text, starts timestamptz, ends timestamptz)
  returns integer language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(0, r.staffed - r.occupied - coalesce(r.blocked, 0))
       - (select coalesce(sum(case o.status when 'open' then o.quantity else o.promised end), 0)::integer
            from sharewell.offer o
           where o.institution_id = institution and o.resource = code
             and o.available_from < ends and o.available_until > starts)
  from (select staffed, occupied, blocked from sharewell.capacity_report c
         where institution_id = institution and resource = code
           and not exists (select from sharewell.capacity_report n where n.corrects = c.id)
         order by as_of desc, id desc limit 1) r
$$;
create function sharewell.pledge_only_what_is_free() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare free integer;
begin
  perform pg_advisory_xact_lock(hashtextextended(new.institution_id::text || new.resource, 0));
  free := sharewell.units_free_to_pledge(new.institution_id, new.resource, new.available_from, new.available_until);
  if free is null or new.quantity + new.minimum_kept > free then
    raise exception 'only % units are free and not pledged elsewhere', coalesce(free, 0) using errcode = 'SW001';
  end if;
  return new;
end $$;
create trigger pledge_only_what_is_free before insert on sharewell.offer
  for each row execute function sharewell.pledge_only_what_is_free();

create function sharewell.never_rewritten() returns trigger language plpgsql as $$
begin
  raise exception '% is never rewritten or removed; a correction is a new row', tg_table_name using errcode = 'SW002';
end $$;
create trigger never_rewritten before update or delete or truncate on sharewell.capacity_report
  for each statement execute function sharewell.never_rewritten();
create trigger never_rewritten before update or delete or truncate on sharewell.transfer_step
  for each statement execute function sharewell.never_rewritten();
-- ALWAYS: also where session_replication_role would skip ordinary triggers.
alter table sharewell.capacity_report enable always trigger never_rewritten;
alter table sharewell.transfer_step enable always trigger never_rewritten;

-- Least privilege: nobody but the migrator may delete, and each role writes only what its services write.
grant select on sharewell.institution, sharewell.resource, sharewell.capacity_report, sharewell.offer,
  sharewell.request, sharewell.transfer, sharewell.transfer_step to sharewell_gateway, sharewell_worker;
grant execute on function sharewell.units_free_to_pledge to sharewell_gateway;
grant insert on sharewell.institution, sharewell.resource, sharewell.capacity_report, sharewell.offer,
  sharewell.request to sharewell_gateway;
grant update (status, decision_id) on sharewell.institution to sharewell_gateway;
-- The worker changes no offer; PostgreSQL asks for this right before it lets a row be locked.
grant update (status) on sharewell.offer to sharewell_gateway, sharewell_worker;
grant update (approved, fulfilled, status, note, decision_id) on sharewell.request
  to sharewell_gateway, sharewell_worker;
grant update (state, decline_reason, return_due_at, changed_at, decision_id) on sharewell.transfer
  to sharewell_gateway, sharewell_worker;
grant insert on sharewell.institution, sharewell.capacity_report, sharewell.request, sharewell.transfer
  to sharewell_worker;
