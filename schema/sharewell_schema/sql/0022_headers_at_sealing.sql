-- What a decision costs whoever decides: two narrow rows, and no index that people search by. The header is made when
-- the entry is sealed, in the same transaction; until then it is read out of the entry itself.

-- Which transaction staged an entry. Older ones have none; nobody asks that of them.
alter table audit.entry add column staged_in xid8;
comment on column audit.entry.staged_in is
  'Compared within the transaction itself only: numbers begin anew when a dump is restored.';

-- Which decision an entry is: what rows of decisions name.
create table audit.staged (
  id        uuid primary key,
  staged_id bigint not null
);
insert into audit.staged select id, staged_id from audit.decision;
create trigger only_grows before update or delete or truncate on audit.staged
  for each statement execute function audit.refuse_change();
alter table audit.staged enable always trigger only_grows;

-- Rows named a header, and now name what stands beside the entry from the first moment. Those that are there were held
-- to the same ids until now, and are not read again.
do $$
declare
  key record;
begin
  for key in
    select conrelid::regclass as name, conname, replace(pg_get_constraintdef(oid), 'audit.decision', 'audit.staged') as def
      from pg_constraint where contype = 'f' and confrelid = 'audit.decision'::regclass and conparentid = 0
  loop
    execute format('alter table %s drop constraint %I, add constraint %2$I %s not valid', key.name, key.conname, key.def);
  end loop;
end
$$;

alter table audit.decision drop column staged_in;
alter table audit.decision rename to header;

-- As before, but for codes that no index could hold.
create or replace function audit.resources_of(header jsonb) returns text[]
  language plpgsql immutable parallel safe
as $$
declare
  code text := header #>> '{details,resource}';
begin
  if header ->> 'kind' like 'audit.%' then
    return null;
  end if;
  if header ->> 'subject_kind' = 'resource' then
    code := header ->> 'subject_id';
  end if;
  if code <> '' then
    return case when octet_length(code) < 2600 then array[code] end;
  end if;
  if header #> '{details,reports}' is null and header #> '{details,resources}' is null then
    return null;
  end if;
  return (
    select array_agg(distinct each order by each)
      from (select jsonb_path_query(header, '$.details.resources[*]') #>> '{}'
            union all select jsonb_path_query(header, '$.details.reports[*].resource') #>> '{}') said (each)
     where each <> '' and octet_length(each) < 2600);
end
$$;

-- The one place where a header is taken out of its entry. A function, not a view: the log's tables carry none.
create function audit.said(body bytea)
  returns table (id uuid, kind text, at timestamptz, actor text, institution uuid, action text, outcome text,
    policy_set text, subject_kind text, subject_id text, request_id text, resources text[])
  language sql stable
as $$
  select (h ->> 'id')::uuid, h ->> 'kind', (h ->> 'at')::timestamptz, h ->> 'actor', (h ->> 'institution')::uuid,
         h ->> 'action', h ->> 'outcome', h ->> 'policy_set', h ->> 'subject_kind', h ->> 'subject_id',
         h ->> 'request_id', audit.resources_of(h)
    from (select pg_catalog.convert_from(body, 'UTF8')::pg_catalog.jsonb as h offset 0) read
$$;

-- Headers of what is not sealed yet: those of a moment, unless the sequencer stands still. The planner takes this for few
-- rows; in here it is kept from trying what would be right for many. Subqueries that yield one value stay lookups.
create function audit.waiting() returns setof audit.header
  language plpgsql stable parallel safe rows 100
  set search_path = pg_catalog, pg_temp
  set jit = off
  set max_parallel_workers_per_gather = 0
as $$
begin
  return query
    select d.id, e.staged_id, d.kind, d.at, d.actor, d.institution, d.action, d.outcome, d.policy_set, d.subject_kind,
           d.subject_id, d.request_id, d.resources
      from audit.entry e cross join lateral audit.said(e.body) d
     where e.staged_id > (select coalesce(max(t.settled), 0) from audit.tree t)
       and (select h.id from audit.header h where h.staged_id = e.staged_id) is null
       -- What was changed since is found by the sequencer, and may not even be JSON.
       and e.leaf_hash = sha256('\x00'::bytea || e.body)
       and (select s.staged_id from audit.staged s where s.id = d.id) = e.staged_id;
end
$$;

-- Every decision, sealed or not: what people search. Behind `offset 0` the planner can look decisions up one by one, in
-- a join, which it cannot behind a function alone.
create view audit.decision as
select id, staged_id, kind, at, actor, institution, action, outcome, policy_set, subject_kind, subject_id, request_id,
       resources from audit.header
union all
select id, staged_id, kind, at, actor, institution, action, outcome, policy_set, subject_kind, subject_id, request_id,
       resources from (select * from audit.waiting() offset 0) w;

-- For the sequencer, in the transaction that seals these entries. Some may have had their header before this migration.
create function audit.add_headers(sealed bigint[]) returns void
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  insert into audit.header
      (id, staged_id, kind, at, actor, institution, action, outcome, policy_set, subject_kind, subject_id, request_id,
       resources)
    select d.id, e.staged_id, d.kind, d.at, d.actor, d.institution, d.action, d.outcome, d.policy_set, d.subject_kind,
           d.subject_id, d.request_id, d.resources
      from audit.entry e cross join lateral audit.said(e.body) d
     where e.staged_id = any(sealed)
       -- What did not come through audit.record() is no decision.
       and (select s.staged_id from audit.staged s where s.id = d.id) = e.staged_id
    on conflict do nothing;
end
$$;

-- The only door for those who decide. What a header could not be made of is refused here, not when it is sealed.
create or replace function audit.record(entry bytea) returns bigint
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  words  text := convert_from(entry, 'UTF8');
  header jsonb;
  own    xid8;
  staged bigint;
begin
  -- A key given twice would let the header say one thing and a reader of the entry another.
  if octet_length(entry) > 65535 or words is not json object with unique keys then
    raise exception 'an entry must be a JSON object of at most 65535 bytes that has no key twice'
      using errcode = 'invalid_parameter_value';
  end if;
  header := words::jsonb;
  if header ->> 'outcome' not in ('allowed', 'refused') then
    raise exception 'the outcome of a decision is allowed or refused' using errcode = 'invalid_parameter_value';
  end if;
  -- Longer words have no room in an index; a time in another form is read by each session in its own way.
  if num_nulls(header ->> 'outcome', header ->> 'subject_kind', header ->> 'request_id', (header ->> 'at')::timestamptz,
       coalesce((header ->> 'institution')::uuid, '00000000-0000-0000-0000-000000000000')) > 0
     or header ->> 'at' not like '____-__-__T__:__:__.______Z'
     or octet_length((header ->> 'kind') || (header ->> 'actor') || (header ->> 'action') || (header ->> 'policy_set')
          || (header ->> 'subject_id')) > 2000 is not false then
    raise exception 'an entry must have every field of a header: see docs/audit-log.md'
      using errcode = 'invalid_parameter_value';
  end if;
  -- Take the transaction's number before the entry's. Once every transaction up to a number is over, no entry
  -- staged before then can appear any more: this is how the sequencer tells a gap from an entry still to come.
  own := pg_current_xact_id();
  insert into audit.entry (leaf_hash, body, staged_in) values (sha256('\x00'::bytea || entry), entry, own)
    returning staged_id into staged;
  insert into audit.staged (id, staged_id) values ((header ->> 'id')::uuid, staged);
  return staged;
end
$$;
drop function audit.add_header(bigint, jsonb);

-- Whether this very transaction has staged an entry. Only audit.record() draws from the sequence, so nobody can pretend.
create or replace function audit.entry_is_staged() returns boolean
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from audit.entry
     where staged_id = currval('audit.entry_staged_id_seq') and staged_in = pg_current_xact_id_if_assigned());
exception
  when object_not_in_prerequisite_state then return false; -- this session has staged nothing yet
end
$$;

-- New rows name the decision that made them, and that decision is of this transaction.
create or replace function audit.require_own_entry() returns trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from (select distinct decision_id from touched) t
     where not exists (select from audit.staged s
                          join audit.entry e using (staged_id)
                        where s.id = t.decision_id and e.staged_in = pg_current_xact_id_if_assigned())) then
    raise exception '%.% is not written without an entry in the same transaction', tg_table_schema, tg_table_name
      using errcode = 'SW004';
  end if;
  return null;
end
$$;

-- A key is deleted together with the entry that says by which ground, and so is each key of many.
create or replace function erasable.require_erasure() returns trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select subject_ref::text from touched
    except
    select w.subject_id
      from audit.waiting() w join audit.entry e using (staged_id)
     where w.kind = 'subject.erased' and e.staged_in = pg_current_xact_id_if_assigned()) then
    raise exception 'a key is not deleted without the entry of the erasure in the same transaction'
      using errcode = 'SW004';
  end if;
  return null;
end
$$;

revoke all on function audit.said(bytea), audit.waiting(), audit.add_headers(bigint[]) from public;
grant execute on function audit.add_headers(bigint[]) to sharewell_sequencer;
grant execute on function audit.said(bytea), audit.waiting() to sharewell_gateway, sharewell_worker, sharewell_sequencer;
grant select on audit.staged, audit.decision to sharewell_gateway, sharewell_worker, sharewell_sequencer;
