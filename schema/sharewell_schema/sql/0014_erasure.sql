-- Keys of data subjects, outside of the log and mutable: deleting one erases what was sealed under it, and changes no
-- entry. And completeness by construction: no row of a decision is written without an entry in the same transaction.

-- Which transaction staged a decision. Older rows have none; nobody asks that of them.
alter table audit.decision add column staged_in xid8;
alter table audit.decision alter column staged_in set default pg_current_xact_id();
comment on column audit.decision.staged_in is
  'Compared within the transaction itself only: numbers begin anew when a dump is restored.';
create index on audit.decision (id) where kind = 'audit.reconciled';
create index on audit.decision (subject_id) where kind = 'subject.erased';

create schema erasable;
grant usage on schema erasable to sharewell_gateway, sharewell_worker;

-- The key by which a person is found again is wrapped like the others.
create table erasable.lookup_key (
  only_one boolean primary key default true check (only_one),
  kek_id   text not null,
  wrapped  bytea not null
);

-- One key for each data subject. The reference is random and stands in entries; `lookup` is a keyed hash of what an
-- integrator calls the person, and goes with the row.
create table erasable.subject_key (
  subject_ref uuid primary key,
  lookup      bytea not null unique check (octet_length(lookup) = 32),
  institution uuid,
  kek_id      text not null,
  wrapped     bytea not null,
  made_at     timestamptz not null,
  keep_until  timestamptz not null
);
create index on erasable.subject_key (keep_until, subject_ref);
create index on erasable.subject_key (kek_id);

-- What a person typed goes when the person's key goes.
alter table sharewell.remark
  add column subject_ref uuid references erasable.subject_key (subject_ref) on delete cascade;
create index on sharewell.remark (subject_ref) where subject_ref is not null;

-- Whether this very transaction has staged an entry. Only audit.record() draws from the sequence, so nobody can pretend.
create function audit.entry_is_staged() returns boolean
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from audit.decision
     where staged_id = currval('audit.entry_staged_id_seq') and staged_in = pg_current_xact_id_if_assigned());
exception
  when object_not_in_prerequisite_state then return false; -- this session has staged nothing yet
end
$$;

-- Looks once for each statement, not for each row. A statement that touches no row needs no entry.
create function audit.require_entry() returns trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from touched) and not audit.entry_is_staged() then
    raise exception '%.% is not written without an entry in the same transaction', tg_table_schema, tg_table_name
      using errcode = 'SW004';
  end if;
  return null;
end
$$;

-- New rows name the decision that made them, and that decision is of this transaction.
create function audit.require_own_entry() returns trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from (select distinct decision_id from touched) t
     where not exists (select from audit.decision d
                        where d.id = t.decision_id and d.staged_in = pg_current_xact_id_if_assigned())) then
    raise exception '%.% is not written without an entry in the same transaction', tg_table_schema, tg_table_name
      using errcode = 'SW004';
  end if;
  return null;
end
$$;

create function audit.refuse_truncate() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '%.% is never emptied', tg_table_schema, tg_table_name using errcode = 'SW002';
end
$$;

-- A key is deleted together with the entry that says by which ground, and so is each key of many.
create function erasable.require_erasure() returns trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from touched t
     where not exists (select from audit.decision d
                        where d.kind = 'subject.erased' and d.subject_id = t.subject_ref::text
                          and d.staged_in = pg_current_xact_id_if_assigned())) then
    raise exception 'a key is not deleted without the entry of the erasure in the same transaction'
      using errcode = 'SW004';
  end if;
  return null;
end
$$;

-- What somebody typed beside one decision, removed with an entry that says so.
create function erasable.erase_remark(decision uuid) returns boolean
  language sql security definer
  set search_path = pg_catalog, pg_temp
as $$
  with gone as (delete from sharewell.remark where decision_id = decision returning 1) select exists (select from gone)
$$;

-- Put the guard on a table. Rows that name their decision are held to it; lines of a run, whose run does, to any entry.
create procedure audit.guard(name regclass, names_its_decision boolean)
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
declare
  event text;
  looks text;
begin
  foreach event in array array['insert', 'update', 'delete'] loop
    looks := case when event = 'insert' and names_its_decision then 'require_own_entry' else 'require_entry' end;
    execute format(
      'create trigger needs_entry_%s after %s on %s referencing %s table as touched
         for each statement execute function audit.%I()',
      event, event, name, case event when 'delete' then 'old' else 'new' end, looks);
    execute format('alter table %s enable always trigger needs_entry_%s', name, event);
  end loop;
  execute format(
    'create trigger never_emptied before truncate on %s for each statement execute function audit.refuse_truncate()',
    name);
  execute format('alter table %s enable always trigger never_emptied', name);
end
$$;

-- A later migration that must rewrite rows of these switches the triggers off for itself and says so.
do $$
declare
  name text;
begin
  foreach name in array array[
    'sharewell.institution', 'sharewell.resource', 'sharewell.capacity_report', 'sharewell.offer', 'sharewell.request',
    'sharewell.transfer', 'sharewell.transfer_step', 'sharewell.allocation', 'sharewell.forecast_trial',
    'sharewell.forecast_run', 'sharewell.feed', 'sharewell.override', 'sharewell.deviation', 'sharewell.surge_mode',
    'sharewell.consent', 'sharewell.choice', 'sharewell.credit', 'sharewell.remark', 'oauth.client'] loop
    call audit.guard(name::regclass, true);
  end loop;
  foreach name in array array[
    'sharewell.forecast', 'sharewell.forecast_sum', 'sharewell.run_receipt', 'sharewell.unfilled'] loop
    call audit.guard(name::regclass, false);
  end loop;
end
$$;

create trigger needs_erasure after delete on erasable.subject_key referencing old table as touched
  for each statement execute function erasable.require_erasure();
create trigger never_emptied before truncate on erasable.subject_key
  for each statement execute function audit.refuse_truncate();
create trigger never_removed before delete or truncate on erasable.lookup_key
  for each statement execute function audit.refuse_truncate();
alter table erasable.subject_key enable always trigger needs_erasure, enable always trigger never_emptied;
alter table erasable.lookup_key enable always trigger never_removed;

revoke all on all functions in schema erasable from public;
revoke all on function audit.entry_is_staged(), audit.require_entry(), audit.require_own_entry(),
  audit.refuse_truncate() from public;
revoke all on procedure audit.guard(regclass, boolean) from public;
grant execute on function erasable.erase_remark(uuid) to sharewell_gateway;
grant select, insert, update (kek_id, wrapped) on erasable.lookup_key to sharewell_gateway;
grant select, insert, update (kek_id, wrapped, keep_until), delete on erasable.subject_key to sharewell_gateway;
-- The worker deletes keys whose time is over, and never reads one.
grant select (subject_ref, institution, keep_until), update (keep_until), delete on erasable.subject_key
  to sharewell_worker;
-- The reconciliation looks at which decisions rows name, and at nothing else of a client.
grant usage on schema oauth to sharewell_worker;
grant select (client_id, decision_id, disabled_by) on oauth.client to sharewell_worker;
