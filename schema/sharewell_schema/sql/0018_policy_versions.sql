-- Versions of the policies and their life, and glasses that were broken. The files of a version are artifacts: the list
-- whose SHA-256 is `policy_set`, and what it lists.

create table sharewell.policy_version (
  number          integer primary key check (number > 0),
  origin          text not null check (origin in ('shipped', 'drafted', 'rolled_back')),
  state           text not null check (state in
                    ('draft', 'validated', 'simulated', 'approved', 'effective', 'superseded', 'withdrawn')),
  author          text not null,
  author_person   uuid,
  base            integer references sharewell.policy_version (number),
  returns_to      integer references sharewell.policy_version (number),
  policy_set      text not null references sharewell.artifact (sha256),
  findings        jsonb not null,
  drafted_at      timestamptz not null,
  edited_at       timestamptz not null,
  simulated_at    timestamptz,
  simulation      jsonb,
  approved_by     text,
  approved_person uuid,
  approved_at     timestamptz,
  effective_from  timestamptz,
  effective_at    timestamptz,
  ended_at        timestamptz,
  decision_id     uuid not null references audit.decision (id),
  changed_by      uuid not null references audit.decision (id),
  constraint nobody_approves_their_own check (approved_by <> author),
  constraint a_second_person_approves check (approved_person <> author_person),
  constraint rolled_back_to_something check ((origin = 'rolled_back') = (returns_to is not null)),
  constraint approved_by_somebody check (
    (approved_by is null) = (approved_at is null)
    and (origin = 'shipped' or approved_by is not null or state not in ('approved', 'effective', 'superseded'))),
  constraint simulated_as_it_is check (
    (simulated_at is null) = (simulation is null) and simulated_at >= edited_at
    and (state not in ('simulated') or simulated_at is not null)
    and (approved_at is null or origin = 'rolled_back' or simulated_at <= approved_at)),
  constraint never_before_its_time check (effective_from >= approved_at and effective_at >= effective_from),
  constraint in_force_from_a_time check (
    (state in ('approved', 'effective')) <= (effective_from is not null)
    and (effective_at is not null) = (state in ('effective', 'superseded')))
);
create index policy_version_schedule on sharewell.policy_version (effective_from)
  where state in ('approved', 'effective');
create index on sharewell.policy_version (state, number desc);
create index on sharewell.policy_version (number desc) where origin = 'shipped';
create index on sharewell.policy_version (approved_at) where approved_at is not null;
create unique index one_version_in_force on sharewell.policy_version ((true)) where state = 'effective';

-- Every state that a version came to, and the decision that brought it there.
create table sharewell.policy_step (
  version     integer not null references sharewell.policy_version (number),
  state       text not null,
  at          timestamptz not null,
  decision_id uuid not null references audit.decision (id),
  primary key (version, decision_id, state)
);

-- The second wall of what `sharewell.domain.policy_versions` says: who writes here is held to the decision that is on
-- record, a version goes forward only, and what was approved is what was simulated.
create function sharewell.policy_version_life() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  said record;
begin
  select d.actor, d.action, d.outcome, d.at into said from audit.decision d where d.id = new.changed_by;
  if said.outcome is distinct from 'allowed' then
    raise exception 'a version of the policies changes by a decision only' using errcode = 'SW004';
  end if;
  if tg_op = 'INSERT' then
    if new.author <> said.actor or new.decision_id <> new.changed_by or new.approved_by is not null
       or (new.origin <> 'shipped' and new.state not in ('draft', 'validated'))
       or (new.origin = 'shipped') <> (said.action = 'publishPolicy') then
      raise exception 'a version of the policies begins as the draft of whoever drafts it' using errcode = 'SW002';
    end if;
    return new;
  end if;
  if (old.number, old.origin, old.author, old.author_person, old.base, old.returns_to, old.drafted_at, old.decision_id)
     is distinct from
     (new.number, new.origin, new.author, new.author_person, new.base, new.returns_to, new.drafted_at, new.decision_id)
     or not (old.state || ' ' || new.state = any (array[
       'draft draft', 'draft validated', 'draft withdrawn',
       'validated draft', 'validated validated', 'validated simulated', 'validated approved', 'validated withdrawn',
       'simulated draft', 'simulated validated', 'simulated simulated', 'simulated approved', 'simulated withdrawn',
       'approved effective', 'approved withdrawn', 'effective superseded'])) then
    raise exception 'a version of the policies cannot go from % to %', old.state, new.state using errcode = 'SW002';
  end if;
  if (old.policy_set, old.findings, old.edited_at) is distinct from (new.policy_set, new.findings, new.edited_at)
     and (new.state not in ('draft', 'validated') or new.simulated_at is not null or said.actor <> old.author) then
    raise exception 'only its author edits a version, and then it is validated and simulated anew'
      using errcode = 'SW002';
  end if;
  if new.state = 'approved' and (
       said.action <> 'approvePolicy' or said.actor <> new.approved_by or new.approved_at <> said.at
       or (new.simulation is null and new.origin <> 'rolled_back')) then
    raise exception 'a version is approved by whoever the decision names, and simulated before' using errcode = 'SW002';
  end if;
  if old.approved_by is not null
     and (old.approved_by, old.approved_person, old.approved_at, old.effective_from, old.simulation)
         is distinct from (new.approved_by, new.approved_person, new.approved_at, new.effective_from, new.simulation) then
    raise exception 'what was approved is not changed' using errcode = 'SW002';
  end if;
  if old.effective_at is null and new.effective_at is not null and said.action <> 'publishPolicy' then
    raise exception 'only the platform brings a version into force' using errcode = 'SW002';
  end if;
  return new;
end $$;
create trigger life before insert or update on sharewell.policy_version
  for each row execute function sharewell.policy_version_life();

create function sharewell.keep_policy_step() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into sharewell.policy_step (version, state, at, decision_id)
    select new.number, new.state, d.at, d.id from audit.decision d
     where d.id = new.changed_by and (tg_op = 'INSERT' or old.state is distinct from new.state);
  return null;
end $$;
create trigger keep_step after insert or update on sharewell.policy_version
  for each row execute function sharewell.keep_policy_step();

-- A version put into force at once and for hours by one admin alone.
create table sharewell.break_glass (
  id          uuid primary key,
  version     integer not null references sharewell.policy_version (number),
  reason      text not null,
  broken_at   timestamptz not null,
  until       timestamptz not null check (until > broken_at and until <= broken_at + interval '24 hours'),
  client      text not null,
  person      uuid,
  ended_at    timestamptz,
  ending      text check (ending in ('ended', 'expired')),
  decision_id uuid not null unique references audit.decision (id),
  ended_by    uuid references audit.decision (id),
  check ((ended_at is null) = (ending is null) and (ended_at is null) = (ended_by is null))
);
create index on sharewell.break_glass (until) where ended_at is null;
create unique index one_glass_at_a_time on sharewell.break_glass ((true)) where ended_at is null;

-- Whoever broke the last glass breaks the next only after a second person approved something; nobody extends one.
create function sharewell.break_glass_life() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last record;
begin
  if tg_op = 'UPDATE' then
    if (old.id, old.version, old.reason, old.broken_at, old.until, old.client, old.person, old.decision_id)
       is distinct from
       (new.id, new.version, new.reason, new.broken_at, new.until, new.client, new.person, new.decision_id)
       or old.ended_at is not null then
      raise exception 'a broken glass ends once, and nothing else of it changes' using errcode = 'SW002';
    end if;
    return new;
  end if;
  if not exists (select from audit.decision d where d.id = new.decision_id and d.actor = new.client
                  and d.action = 'breakGlass' and d.outcome = 'allowed') then
    raise exception 'the glass is broken by whoever the decision names' using errcode = 'SW002';
  end if;
  select g.client, g.person, g.broken_at into last from sharewell.break_glass g order by g.id desc limit 1;
  if (last.client = new.client or last.person = new.person)
     and not exists (select from sharewell.policy_version v where v.approved_at > last.broken_at) then
    raise exception 'whoever broke the last glass does not break the next; somebody else does'
      using errcode = 'SW002';
  end if;
  return new;
end $$;
create trigger life before insert or update on sharewell.break_glass
  for each row execute function sharewell.break_glass_life();

create trigger never_rewritten before update or delete or truncate on sharewell.policy_step
  for each statement execute function sharewell.never_rewritten();
alter table sharewell.policy_step enable always trigger never_rewritten;
alter table sharewell.policy_version enable always trigger life, enable always trigger keep_step;
alter table sharewell.break_glass enable always trigger life;
revoke all on function sharewell.policy_version_life(), sharewell.keep_policy_step(), sharewell.break_glass_life()
  from public;
call audit.guard('sharewell.policy_version', true);
call audit.guard('sharewell.policy_step', true);
call audit.guard('sharewell.break_glass', true);

grant select on sharewell.policy_version, sharewell.policy_step, sharewell.break_glass
  to sharewell_gateway, sharewell_worker;
grant insert on sharewell.policy_version, sharewell.break_glass to sharewell_gateway;
grant update (state, policy_set, findings, edited_at, simulated_at, simulation, approved_by, approved_person,
              approved_at, effective_from, effective_at, ended_at, changed_by)
  on sharewell.policy_version to sharewell_gateway;
-- Workers put on record what came into force at its time, and can approve nothing.
grant update (state, effective_at, ended_at, changed_by) on sharewell.policy_version to sharewell_worker;
grant update (ended_at, ending, ended_by) on sharewell.break_glass to sharewell_gateway, sharewell_worker;
