-- Which glass was broken last, and what was approved since, is told by the order in which decisions were put on record. Before,
-- it was told by ids and times, and these are of the clocks of gateways, which differ: with a clock that is behind, somebody
-- could break two in a row.

alter table sharewell.break_glass add column turn bigint unique;
alter table sharewell.policy_version add column approved_turn bigint;
-- Of those that are there. No decision is made here.
alter table sharewell.break_glass disable trigger life, disable trigger needs_entry_update;
alter table sharewell.policy_version
  disable trigger life, disable trigger apps, disable trigger keep_step, disable trigger needs_entry_update;
update sharewell.break_glass g set turn = s.staged_id from audit.staged s where s.id = g.decision_id;
update sharewell.policy_version v set approved_turn = s.staged_id
  from sharewell.policy_step p join audit.staged s on s.id = p.decision_id
 where p.version = v.number and p.state = 'approved' and v.approved_at is not null;
alter table sharewell.break_glass enable always trigger life, enable always trigger needs_entry_update;
alter table sharewell.policy_version
  enable always trigger life, enable always trigger apps, enable always trigger keep_step,
  enable always trigger needs_entry_update;
alter table sharewell.break_glass alter column turn set not null;
create index on sharewell.policy_version (approved_turn) where approved_turn is not null;

-- As before, with the place of an approval in that order.
create or replace function sharewell.take_apps() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.written_through := case tg_op when 'UPDATE' then old.written_through else '{}' end;
  if tg_op = 'INSERT' or new.policy_set <> old.policy_set then
    new.written_through := array_remove(new.written_through || audit.through(new.changed_by), null);
  end if;
  new.approved_through := case tg_op when 'UPDATE' then old.approved_through end;
  new.approved_turn := case tg_op when 'UPDATE' then old.approved_turn end;
  if new.approved_by is not null and new.state = 'approved' and (tg_op = 'INSERT' or old.state <> 'approved') then
    new.approved_through := audit.through(new.changed_by);
    new.approved_turn := (select s.staged_id from audit.staged s where s.id = new.changed_by);
  end if;
  return new;
end $$;

-- As before, in that order.
create or replace function sharewell.break_glass_life() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last record;
begin
  if tg_op = 'UPDATE' then
    if (old.id, old.version, old.reason, old.broken_at, old.until, old.client, old.person, old.decision_id, old.turn)
       is distinct from
       (new.id, new.version, new.reason, new.broken_at, new.until, new.client, new.person, new.decision_id, new.turn)
       or old.ended_at is not null then
      raise exception 'a broken glass ends once, and nothing else of it changes' using errcode = 'SW002';
    end if;
    return new;
  end if;
  if not exists (select from audit.decision d where d.id = new.decision_id and d.actor = new.client
                  and d.action = 'breakGlass' and d.outcome = 'allowed') then
    raise exception 'the glass is broken by whoever the decision names' using errcode = 'SW002';
  end if;
  select g.client, g.person, g.turn into last from sharewell.break_glass g order by g.turn desc limit 1;
  if (last.client = new.client or last.person = new.person)
     and not exists (
       select from sharewell.policy_version v
        where v.approved_turn > last.turn and v.state <> 'withdrawn' and v.approved_by not in (new.client, last.client)
          and (v.approved_person is null or (v.approved_person is distinct from new.person
                                             and v.approved_person is distinct from last.person))) then
    raise exception 'whoever broke the last glass does not break the next; somebody else does'
      using errcode = 'SW002';
  end if;
  return new;
end $$;

-- As before, in that order, and with the lines of the apps.
create or replace function sharewell.broken_from_another_line() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last record;
  breaker text[];
  taken text[];
begin
  new.turn := (select s.staged_id from audit.staged s where s.id = new.decision_id);
  new.through := audit.through(new.decision_id);
  breaker := oauth.lines_behind(new.client, array[new.through]);
  select g.client, g.through, g.turn into last
    from sharewell.break_glass g where g.id <> new.id order by g.turn desc limit 1;
  taken := oauth.lines_behind(last.client, array[last.through]);
  if taken && breaker
     and not exists (
       select from sharewell.policy_version v
        where v.approved_turn > last.turn and v.state <> 'withdrawn'
          and not oauth.lines_behind(v.approved_by, array[v.approved_through]) && (breaker || taken)) then
    raise exception 'whoever broke the last glass does not break the next, nor does anybody of their line'
      using errcode = 'SW002';
  end if;
  return new;
end $$;
