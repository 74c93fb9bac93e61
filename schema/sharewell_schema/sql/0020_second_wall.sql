-- A second wall behind the policies: whatever the gateway asks for, it gets rows of the institutions that it reads for
-- and of no others, and writes none of others. It says in each transaction for whom it reads, by the setting
-- sharewell.reader: {"all": true}, or {"institution": id, "regions": [code, ...]}. Unset, there are no rows.
-- And the regions that a regulator reads of.

alter table oauth.client add column jurisdiction text[] not null default '{}';
alter table oauth.client add constraint regulators_have_jurisdictions
  check (jurisdiction = '{}' or 'regulator' = any (roles));
alter table oauth.person add column jurisdiction text[] not null default '{}';
alter table oauth.person add constraint regulators_have_jurisdictions
  check (jurisdiction = '{}' or 'regulator' = any (roles));

create function sharewell.reader() returns jsonb
  language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select coalesce(nullif(current_setting('sharewell.reader', true), ''), '{}')::jsonb
$$;
create function sharewell.reads_all() returns boolean
  language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select coalesce((sharewell.reader() ->> 'all')::boolean, false)
$$;
-- Who takes part sees what is pledged and what others have; see capacity.cedar and offers.cedar.
create function sharewell.reads_shared() returns boolean
  language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select sharewell.reads_all() or sharewell.reader() ? 'institution'
$$;
-- The institutions that are read for.
create function sharewell.read_for() returns uuid[]
  language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select array(
    select (sharewell.reader() ->> 'institution')::uuid where sharewell.reader() ? 'institution'
     union
    select i.id from sharewell.institution i
     where i.region = any (array(select jsonb_array_elements_text(sharewell.reader() -> 'regions'))))
$$;
-- Whose forecasts are shown to the institution that is read for. When, and of which resource, is for the policies.
create function sharewell.shown_forecasts() returns uuid[]
  language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select array(
    select giver_id from sharewell.agreement
     where receiver_id = (sharewell.reader() ->> 'institution')::uuid and detail = 'forecasts'
       and accepted_at is not null and ended_at is null)
$$;
grant execute on function sharewell.reader, sharewell.reads_all, sharewell.reads_shared, sharewell.read_for,
  sharewell.shown_forecasts
  to sharewell_gateway;

-- Everything of these tables, and of those that follow, is some institution's own. Looked up once for each statement, not
-- for each row: hence the selects. Workers plan for all, and the owner's functions keep count for all.
create procedure sharewell.put_wall(name regclass, mine text, shown text default null) language plpgsql as $$
declare
  sees constant text := format('(select sharewell.reads_all()) or %s', mine);
begin
  execute format('alter table %s enable row level security, force row level security', name);
  execute format('create policy all_of_it on %s to sharewell_worker, sharewell_migrator using (true)', name);
  execute format('create policy read on %s for select to sharewell_gateway using (%s)', name, coalesce(shown, sees));
  execute format('create policy add on %s for insert to sharewell_gateway with check (%s)', name, sees);
  execute format('create policy change on %s for update to sharewell_gateway using (%s)', name, sees);
end $$;

do $$
declare
  ours constant text := 'institution_id = any ((select sharewell.read_for())::uuid[])';
  party constant text := 'giver_id = any ((select sharewell.read_for())::uuid[]) '
    'or receiver_id = any ((select sharewell.read_for())::uuid[])';
  name text;
begin
  foreach name in array array['request', 'consent', 'forecast_watch', 'run_receipt', 'unfilled',
                              'horizon_day', 'horizon_unmet', 'credit'] loop
    call sharewell.put_wall(format('sharewell.%I', name)::regclass, ours);
  end loop;
  foreach name in array array['capacity_report', 'offer'] loop
    call sharewell.put_wall(format('sharewell.%I', name)::regclass, ours,
      format('(select sharewell.reads_shared()) or %s', ours));
  end loop;
  call sharewell.put_wall('sharewell.forecast', ours,
    format('(select sharewell.reads_all()) or %s or institution_id = any ((select sharewell.shown_forecasts())::uuid[])', ours));
  foreach name in array array['transfer', 'agreement', 'override', 'deviation', 'horizon_movement'] loop
    call sharewell.put_wall(format('sharewell.%I', name)::regclass, party);
  end loop;
  call sharewell.put_wall('sharewell.transfer_step',
    'exists (select from sharewell.transfer t where t.id = transfer_id)');
end $$;
