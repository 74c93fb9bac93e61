-- What regulators search decisions by, and the rights to keep policy sets under their hash.

-- Every resource an entry speaks of: its own, those it lists, or those of each report in it. None where it speaks of none; a reading of
-- the log speaks of none either, whatever was looked for. Written step by step, without settings of its own: it runs for
-- every decision.
create function audit.resources_of(header jsonb) returns text[]
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
    return array[code];
  end if;
  if header #> '{details,reports}' is null and header #> '{details,resources}' is null then
    return null;
  end if;
  return (
    select array_agg(distinct each order by each)
      from (select jsonb_path_query(header, '$.details.resources[*]') #>> '{}'
            union all select jsonb_path_query(header, '$.details.reports[*].resource') #>> '{}') said (each)
     where each <> '');
end
$$;

grant execute on function audit.resources_of(jsonb) to sharewell_gateway, sharewell_worker, sharewell_sequencer;

alter table audit.decision add column resources text[];
-- Headers are never changed; here one learns what its entry says already.
alter table audit.decision disable trigger only_grows;
update audit.decision d set resources = audit.resources_of(convert_from(e.body, 'UTF8')::jsonb)
  from audit.entry e where e.staged_id = d.staged_id;
alter table audit.decision enable always trigger only_grows;

-- The one place where a header is taken out of its entry.
create function audit.add_header(staged bigint, header jsonb) returns void
  language plpgsql
as $$
begin
  insert into audit.decision
      (id, staged_id, kind, at, actor, institution, action, outcome, policy_set, subject_kind, subject_id, request_id,
       resources)
    values ((header ->> 'id')::uuid, staged, header ->> 'kind', (header ->> 'at')::timestamptz, header ->> 'actor',
      (header ->> 'institution')::uuid, header ->> 'action', header ->> 'outcome', header ->> 'policy_set',
      header ->> 'subject_kind', header ->> 'subject_id', header ->> 'request_id', audit.resources_of(header));
end
$$;

-- As before; the header is taken out by the function above.
create or replace function audit.record(entry bytea) returns bigint
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
  perform audit.add_header(staged, header);
  return staged;
end
$$;

-- Lists are in order of time, newest first, and a period is a part of that order; so time stands in every index.
create index on audit.decision (at, id);
create index on audit.decision (institution, at, id);
create index on audit.decision (actor, at, id);
create index on audit.decision (kind, at, id);
create index on audit.decision (action, at, id);
create index on audit.decision (policy_set, at, id);
create index on audit.decision (subject_id, at, id);
create index decision_refused_idx on audit.decision (at, id) where outcome = 'refused';
create index on audit.decision using gin (resources) where resources is not null;
drop index audit.decision_institution_id_idx;

-- A set of policies is kept file by file, and under the set's own hash the list of its files' hashes.
grant insert on sharewell.artifact to sharewell_gateway;
