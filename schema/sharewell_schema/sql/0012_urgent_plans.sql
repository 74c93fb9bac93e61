-- By which rule a run decided, and what its stages reached; an urgent request answered between two runs is a row too.

alter table sharewell.allocation add column rule text, add column stages jsonb;

-- Both stand in the documents of the runs so far; floors are shares, of which the smallest counts.
update sharewell.allocation a
   set rule = convert_from(i.body, 'UTF8')::jsonb #>> '{fairness,rule}',
       stages = (
         select coalesce(jsonb_agg(s.stage order by s.place), '[]') from (
           select min(place) as place,
                  jsonb_build_object('name', row->>'name', 'value',
                    case row->>'name'
                      when 'floor' then (array_agg(row->'value' order by (row->>'value')::numeric / (row->>'over')::numeric))[1]
                      else to_jsonb(sum((row->>'value')::numeric)) end,
                    'over', (array_agg(row->'over' order by (row->>'value')::numeric / (row->>'over')::numeric))[1]) as stage
             from jsonb_array_elements(convert_from(p.body, 'UTF8')::jsonb->'stages') with ordinality e(row, place)
            group by row->>'name') s)
  from sharewell.artifact i, sharewell.artifact p
 where i.sha256 = a.instance_sha256 and p.sha256 = a.plan_sha256;

alter table sharewell.allocation
  alter column rule set not null, alter column stages set not null,
  add check (rule ~ '^[a-z_]{1,40}$');

-- What an institution got by urgent plans since the last run is summed over these.
create index on sharewell.allocation (region, resource, id desc) include (rule);
