-- A second person is somebody whom the first did not make. Everybody's access begins somewhere: with an admin whom the
-- operator let in, and whoever an admin registers has access by the line of that admin. Who wrote a version of the policies
-- and who approves it have no line in common.

alter table oauth.client add column lines text[] not null default '{}';
alter table oauth.person add column lines text[] not null default '{}';

-- Whether a decision is the operator's own, at the machine. No client gets that name any more. One from before, if it is an
-- admin, is behind all that came after it under that name, until an hour after it ended: longer than any token of it lasts.
create function oauth.by_operator(decision uuid) returns boolean
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select exists (
    select from audit.decision d
     where d.id = decision and d.actor = 'operator' and not exists (
       select from oauth.client c join audit.staged s on s.id = c.decision_id
        where c.client_id = 'operator' and 'admin' = any (c.roles) and s.staged_id < d.staged_id
          and coalesce(least(c.expires_at, (select e.at from audit.decision e where e.id = c.disabled_by)), 'infinity')
              > d.at - interval '1 hour'));
end;

-- Where the access of `who` begins. Whoever is registered nowhere here, such as a subject of an external issuer, whom the
-- operator lets in by listing that issuer, is a line of their own; so is the operator.
create function oauth.lines_of(who text) returns text[]
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select coalesce(
    (select c.lines from oauth.client c where c.client_id = who and (who <> 'operator' or 'admin' = any (c.roles))),
    (select p.lines from oauth.person p
      where p.id = case when who ~ '^person/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then substr(who, 8)::uuid end),
    array[who]);
end;

-- The lines of each admin who can act at `moment`: people who can sign in, and programs. An app that only people use (`user/`)
-- is nobody by itself.
create function oauth.lines_of_admins(moment timestamptz) returns table (lines text[])
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select c.lines from oauth.client c
   where 'admin' = any (c.roles) and c.status = 'active' and (c.expires_at is null or c.expires_at > moment)
     and exists (select from unnest(c.scopes) s where s like 'system/%')
  union all
  select p.lines from oauth.person p where 'admin' = any (p.roles) and p.status = 'active';
end;

-- Whether some admin who can act at `moment` has no line in common with `taken`.
create function oauth.has_admin_apart(taken text[], moment timestamptz) returns boolean
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select exists (select from oauth.lines_of_admins(moment) a where not a.lines && taken);
end;

-- Whether one of two admins who can act at `moment` can approve what the other wrote.
create function oauth.has_two_lines(moment timestamptz) returns boolean
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select exists (select from oauth.lines_of_admins(moment) a where oauth.has_admin_apart(a.lines, moment));
end;

-- The line is taken from the decision on record, whatever the program says.
create function oauth.take_lines() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  registrar text := (select d.actor from audit.decision d where d.id = new.decision_id);
  self text := case tg_argv[0] when 'person' then 'person/' || (to_jsonb(new) ->> 'id') else to_jsonb(new) ->> 'client_id' end;
begin
  if self = 'operator' then
    raise exception 'no client is called operator, for so is whoever acts at the machine' using errcode = 'check_violation';
  end if;
  new.lines := case when oauth.by_operator(new.decision_id) then array[self] else oauth.lines_of(coalesce(registrar, self)) end;
  return new;
end $$;
create trigger take_lines before insert on oauth.client for each row execute function oauth.take_lines('client');
create trigger take_lines before insert on oauth.person for each row execute function oauth.take_lines('person');

-- Whoever is registered already, in the order in which they were: nobody is registered before the one who registers them.
-- That order is the log's, for the times are those of clocks that may differ.
alter table oauth.client disable trigger needs_entry_update;
do $$
declare
  one record;
begin
  for one in select c.client_id as self, null::uuid as person, d.actor, d.staged_id, c.decision_id
               from oauth.client c join audit.decision d on d.id = c.decision_id
             union all
             select 'person/' || p.id, p.id, d.actor, d.staged_id, p.decision_id
               from oauth.person p join audit.decision d on d.id = p.decision_id
             order by staged_id loop
    if one.person is null then
      update oauth.client set lines = case when oauth.by_operator(one.decision_id) then array[one.self]
                                           else oauth.lines_of(one.actor) end
       where client_id = one.self;
    else
      update oauth.person set lines = case when oauth.by_operator(one.decision_id) then array[one.self]
                                           else oauth.lines_of(one.actor) end
       where id = one.person;
    end if;
  end loop;
end $$;
alter table oauth.client enable always trigger needs_entry_update;
alter table oauth.client add constraint of_some_line check (cardinality(lines) > 0);
alter table oauth.person add constraint of_some_line check (cardinality(lines) > 0);
alter table oauth.client enable always trigger take_lines;
alter table oauth.person enable always trigger take_lines;

create function sharewell.approved_from_another_line() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- That the two are one is refused by the table's own constraint.
  if new.approved_by <> new.author and oauth.lines_of(new.approved_by) && oauth.lines_of(new.author) then
    raise exception 'who approves a version has no line in common with who wrote it' using errcode = 'SW002';
  end if;
  return new;
end $$;
create trigger another_line before update on sharewell.policy_version for each row
  when (new.state = 'approved' and old.state <> 'approved') execute function sharewell.approved_from_another_line();

-- As `break_glass_life` holds one caller to it: also by another name of one's own, the next glass waits for a second person.
create function sharewell.broken_from_another_line() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last record;
begin
  select g.client, g.broken_at into last from sharewell.break_glass g where g.id <> new.id order by g.id desc limit 1;
  if oauth.lines_of(last.client) && oauth.lines_of(new.client)
     and not exists (select from sharewell.policy_version v where v.approved_at > last.broken_at) then
    raise exception 'whoever broke the last glass does not break the next, nor does anybody of their line'
      using errcode = 'SW002';
  end if;
  return new;
end $$;
create trigger another_line before insert on sharewell.break_glass
  for each row execute function sharewell.broken_from_another_line();
alter table sharewell.policy_version enable always trigger another_line;
alter table sharewell.break_glass enable always trigger another_line;

revoke all on function oauth.by_operator(uuid), oauth.lines_of(text), oauth.lines_of_admins(timestamptz),
  oauth.has_admin_apart(text[], timestamptz), oauth.has_two_lines(timestamptz), oauth.take_lines(), sharewell.approved_from_another_line(),
  sharewell.broken_from_another_line() from public;
grant execute on function oauth.lines_of(text), oauth.has_admin_apart(text[], timestamptz), oauth.has_two_lines(timestamptz)
  to sharewell_gateway;
