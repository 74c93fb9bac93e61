-- The audit log: staged entries, their queryable headers, and the tree that the sequencer folds them into.
-- Rows are only ever added. Application roles write through audit.record() alone; the sequencer adds to the tree.
-- Not guarded here: the owner of these tables can still drop them or switch triggers off. An event trigger against
-- that can be made by a superuser only, outside of migrations; its function must not live in schema audit, since
-- `drop schema audit cascade` would then drop the guard first.

-- The bytes of each decision, in the transaction of the decision itself. Ids may have gaps: the place of an entry
-- in the log is its leaf's. CACHE 1 keeps ids in the order in which transactions that follow each other took them.
create table audit.entry (
  staged_id bigint generated always as identity (cache 1) primary key,
  staged_at timestamptz not null default clock_timestamp(),
  leaf_hash bytea not null,
  body      bytea not null
);
comment on column audit.entry.leaf_hash is
  'SHA-256(0x00 || body), made when the entry is staged. Not a generated column: that would follow a changed body '
  'silently, and the sequencer could not tell.';

-- What people search by. Taken out of the body by audit.record(), so the two cannot differ.
-- That function also checks what is put in here and above: table constraints would cost a tenth of every record.
create table audit.decision (
  id           uuid primary key,
  staged_id    bigint not null unique,
  kind         text not null,
  at           timestamptz not null,
  actor        text not null,
  institution  uuid,
  action       text not null,
  outcome      text not null,
  policy_set   text not null,
  subject_kind text not null,
  subject_id   text not null,
  request_id   text not null
);
create index on audit.decision (institution, id);

-- The log: entry number log_index is this staged entry. Two sequencers cannot both give out an index.
create table audit.leaf (
  log_index bigint primary key check (log_index >= 0),
  staged_id bigint not null unique,
  leaf_hash bytea not null check (octet_length(leaf_hash) = 32)
);

-- Hashes of the tree, 256 a tile (c2sp.org/tlog-tiles). Partial tiles are kept from level 1 on; those of level 0
-- are the last rows of audit.leaf.
create table audit.tile (
  level  smallint not null check (level between 0 and 63),
  n      bigint not null check (n >= 0),
  width  smallint not null check (width between 1 and 256),
  hashes bytea not null check (octet_length(hashes) = 32 * width),
  primary key (level, n, width)
);
alter table audit.tile alter column hashes set storage external; -- hashes do not compress

-- The head of the tree after each batch.
create table audit.tree (
  size      bigint primary key check (size > 0),
  root      bytea not null check (octet_length(root) = 32),
  settled   bigint not null,
  sealed_at timestamptz not null default clock_timestamp()
);
comment on column audit.tree.settled is
  'Every entry with this staged_id or a lower one is in the tree, and none can appear any more.';

-- What was signed. Written after the head is durable, never before.
create table audit.checkpoint (
  size      bigint primary key references audit.tree (size),
  note      bytea not null,
  signed_at timestamptz not null default clock_timestamp()
);

-- Public keys that have signed this log.
create table audit.verifier_key (
  vkey  text primary key,
  since timestamptz not null default clock_timestamp()
);

-- The only door for those who decide: stages one entry and its header, in the caller's transaction.
create function audit.record(entry bytea) returns bigint
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  words  text := convert_from(entry, 'UTF8');
  header jsonb;
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
  -- Take the transaction's number before the entry's. Once every transaction up to a number is over, no entry
  -- staged before then can appear any more: this is how the sequencer tells a gap from an entry still to come.
  perform pg_current_xact_id();
  insert into audit.entry (leaf_hash, body) values (sha256('\x00'::bytea || entry), entry)
    returning staged_id into staged;
  insert into audit.decision
      (id, staged_id, kind, at, actor, institution, action, outcome, policy_set, subject_kind, subject_id, request_id)
    values ((header ->> 'id')::uuid, staged, header ->> 'kind', (header ->> 'at')::timestamptz, header ->> 'actor',
      (header ->> 'institution')::uuid, header ->> 'action', header ->> 'outcome', header ->> 'policy_set',
      header ->> 'subject_kind', header ->> 'subject_id', header ->> 'request_id');
  return staged;
end
$$;

create function audit.refuse_change() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'audit.% only grows: % is refused', tg_table_name, lower(tg_op) using errcode = 'insufficient_privilege';
end
$$;

do $$
declare
  name text;
begin
  foreach name in array array['entry', 'decision', 'leaf', 'tile', 'tree', 'checkpoint', 'verifier_key'] loop
    execute format(
      'create trigger only_grows before update or delete or truncate on audit.%I
         for each statement execute function audit.refuse_change()', name);
    -- ALWAYS: also where session_replication_role would skip ordinary triggers.
    execute format('alter table audit.%I enable always trigger only_grows', name);
  end loop;
end
$$;

revoke all on function audit.record(bytea), audit.refuse_change() from public;
grant usage on schema audit to sharewell_gateway, sharewell_worker, sharewell_sequencer;
grant execute on function audit.record(bytea) to sharewell_gateway, sharewell_worker, sharewell_sequencer;
grant select on all tables in schema audit to sharewell_gateway, sharewell_worker, sharewell_sequencer;
grant insert on audit.leaf, audit.tile, audit.tree, audit.checkpoint, audit.verifier_key to sharewell_sequencer;
