-- What was approved comes into force in the place of the version that whoever approved it saw it replace, or not at all; and
-- the word that lets somebody break the glass again is somebody else's.

alter table sharewell.policy_version
  add column replaces integer references sharewell.policy_version (number),
  drop constraint policy_version_state_check,
  add constraint policy_version_state_check check (state in
    ('draft', 'validated', 'simulated', 'approved', 'effective', 'superseded', 'withdrawn', 'passed_over'));
-- Of those that wait for their time. No decision is made here, and their life goes on as it was.
alter table sharewell.policy_version disable trigger life, disable trigger needs_entry_update;
update sharewell.policy_version v
   set replaces = coalesce(v.base, (select e.number from sharewell.policy_version e where e.state = 'effective'))
 where v.state = 'approved';
alter table sharewell.policy_version enable always trigger life, enable always trigger needs_entry_update;
grant update (replaces) on sharewell.policy_version to sharewell_gateway;

-- As before; who comes into force takes the place of whom it was approved to replace.
create or replace function sharewell.policy_version_life() returns trigger
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
       'approved effective', 'approved withdrawn', 'approved passed_over', 'effective superseded'])) then
    raise exception 'a version of the policies cannot go from % to %', old.state, new.state using errcode = 'SW002';
  end if;
  if (old.policy_set, old.findings, old.edited_at) is distinct from (new.policy_set, new.findings, new.edited_at)
     and (new.state not in ('draft', 'validated') or new.simulated_at is not null or said.actor <> old.author) then
    raise exception 'only its author edits a version, and then it is validated and simulated anew'
      using errcode = 'SW002';
  end if;
  -- A process of the release before does not say what it replaces.
  if new.state = 'approved' and old.state <> 'approved' and new.replaces is null then
    new.replaces := coalesce(new.base, (select e.number from sharewell.policy_version e where e.state = 'effective'));
  end if;
  if new.state = 'approved' and (
       said.action <> 'approvePolicy' or said.actor <> new.approved_by or new.approved_at <> said.at
       or (new.simulation is null and new.origin <> 'rolled_back')
       or (new.origin <> 'shipped' and new.replaces is distinct from new.base)) then
    raise exception 'a version is approved by whoever the decision names, and simulated before' using errcode = 'SW002';
  end if;
  if old.approved_by is not null
     and (old.approved_by, old.approved_person, old.approved_at, old.effective_from, old.simulation, old.replaces)
         is distinct from
         (new.approved_by, new.approved_person, new.approved_at, new.effective_from, new.simulation, new.replaces) then
    raise exception 'what was approved is not changed' using errcode = 'SW002';
  end if;
  if ((old.effective_at is null and new.effective_at is not null) or new.state = 'passed_over')
     and said.action <> 'publishPolicy' then
    raise exception 'only the platform brings a version into force, or passes it over' using errcode = 'SW002';
  end if;
  if old.effective_at is null and new.effective_at is not null
     and new.replaces is distinct from
         (select f.number from sharewell.policy_version f where f.state = 'superseded' and f.changed_by = new.changed_by) then
    raise exception 'a version takes the place of the one that it was approved to replace' using errcode = 'SW002';
  end if;
  return new;
end $$;

-- As before; an approval counts where it is neither the breaker's own, of this glass or the last, nor withdrawn.
create or replace function sharewell.break_glass_life() returns trigger
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
     and not exists (
       select from sharewell.policy_version v
        where v.approved_at > last.broken_at and v.state <> 'withdrawn' and v.approved_by not in (new.client, last.client)
          and (v.approved_person is null or (v.approved_person is distinct from new.person
                                             and v.approved_person is distinct from last.person))) then
    raise exception 'whoever broke the last glass does not break the next; somebody else does'
      using errcode = 'SW002';
  end if;
  return new;
end $$;

-- As before, by the same rule, for those whom one of the two may have made.
create or replace function sharewell.broken_from_another_line() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last record;
begin
  select g.client, g.broken_at into last from sharewell.break_glass g where g.id <> new.id order by g.id desc limit 1;
  if oauth.lines_of(last.client) && oauth.lines_of(new.client)
     and not exists (
       select from sharewell.policy_version v
        where v.approved_at > last.broken_at and v.state <> 'withdrawn'
          and not oauth.lines_of(v.approved_by) && (oauth.lines_of(new.client) || oauth.lines_of(last.client))) then
    raise exception 'whoever broke the last glass does not break the next, nor does anybody of their line'
      using errcode = 'SW002';
  end if;
  return new;
end $$;
