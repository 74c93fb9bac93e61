-- What the log keeps beside its tree: witnesses' cosignatures, how one key followed another; and what this node
-- remembers as a witness of other logs.

-- A witness's signature line under the checkpoint of that size, as it came.
create table audit.cosignature (
  size        bigint not null references audit.checkpoint (size),
  witness     text not null,
  line        bytea not null,
  received_at timestamptz not null default clock_timestamp(),
  primary key (size, witness)
);

-- The note by which an earlier key of the log says which key comes after it.
create table audit.key_handover (
  vkey    text primary key references audit.verifier_key (vkey),
  note    bytea not null,
  made_at timestamptz not null default clock_timestamp()
);

create schema witness;

-- The largest tree of each log that this node cosigned. The one row of a log moves forward only.
create table witness.head (
  origin      text primary key,
  size        bigint not null check (size >= 0),
  root        bytea not null check (octet_length(root) = 32),
  note        bytea not null,
  cosigned_at timestamptz not null
);

-- What a log signed and this node did not cosign, beside what it had cosigned before: evidence, kept for good.
create table witness.refusal (
  id           bigint generated always as identity primary key,
  at           timestamptz not null,
  origin       text not null,
  reason       text not null check (reason in ('fork', 'rollback')),
  request      bytea not null,
  known_size   bigint not null,
  known_note   bytea not null,
  note_sha256  bytea not null,
  unique (origin, note_sha256)
);

create function witness.forward_only() returns trigger
  language plpgsql
  set search_path = pg_catalog, pg_temp
as $$
begin
  if new.origin <> old.origin or new.size < old.size or (new.size = old.size and new.root <> old.root) then
    raise exception 'a witness never goes back: % was cosigned at size %', old.origin, old.size
      using errcode = 'insufficient_privilege';
  end if;
  return new;
end
$$;
create trigger forward_only before update on witness.head for each row execute function witness.forward_only();
alter table witness.head enable always trigger forward_only;
create trigger only_grows before delete or truncate on witness.head
  for each statement execute function audit.refuse_change();
alter table witness.head enable always trigger only_grows;

do $$
declare
  name text;
begin
  foreach name in array array['audit.cosignature', 'audit.key_handover', 'witness.refusal'] loop
    execute format(
      'create trigger only_grows before update or delete or truncate on %s
         for each statement execute function audit.refuse_change()', name);
    execute format('alter table %s enable always trigger only_grows', name);
  end loop;
end
$$;

revoke all on function witness.forward_only() from public;
grant select on audit.cosignature, audit.key_handover to sharewell_gateway, sharewell_worker, sharewell_sequencer;
grant insert on audit.cosignature, audit.key_handover to sharewell_sequencer;
grant usage on schema witness to sharewell_gateway;
grant select, insert on witness.refusal to sharewell_gateway;
grant select, insert, update on witness.head to sharewell_gateway;
