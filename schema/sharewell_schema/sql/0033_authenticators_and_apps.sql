-- Two things: people change their authenticator app, and what they do through an app is of that app's lines, too.

-- A person replaces the key of the authenticator app on the page where passkeys are kept. The new key waits with the visit,
-- minutes at most, until a code shows that the new app has it; till then the old one counts.

alter table oauth.visit add column totp_secret text;
grant update (totp_secret) on oauth.visit to sharewell_gateway;

-- How often something that signs the person in was replaced or taken away. Whoever was let in by what is gone meanwhile comes
-- to nothing: a sign-in names the count as it was when it was checked.
alter table oauth.person add column renewals integer not null default 0;
grant update (renewals) on oauth.person to sharewell_gateway;

-- As before; the key of somebody who can sign in is not replaced without an entry either.
create or replace function oauth.require_entry_for_access() returns trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from before join after using (id)
     where (before.status, before.disabled_by, before.password_hash)
           is distinct from (after.status, after.disabled_by, after.password_hash)
        or before.status = 'active' and before.totp_secret is distinct from after.totp_secret)
     and not audit.entry_is_staged() then
    raise exception 'who can sign in is not changed without an entry in the same transaction' using errcode = 'SW004';
  end if;
  return null;
end
$$;

-- Whoever registered an app holds what people let it do, and can do that without them. So what a person does through an app
-- is of the lines of that app, too: what the person writes, approves and breaks, and whom it registers or invites again.
-- The app is named by the decision on record (`through`), whatever the program says. One that is registered nowhere
-- here, of an external issuer, adds nothing. In quotes, for nothing may hang on the log's own columns but its tables.
create function audit.through(decision uuid) returns text
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select convert_from(e.body, 'UTF8')::jsonb #>> '{details,through}'
    from audit.staged s join audit.entry e on e.staged_id = s.staged_id where s.id = decision
$$;

create function oauth.lines_behind(who text, through text[]) returns text[]
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select array(select distinct unnest(oauth.lines_of(who))
               union select unnest(c.lines) from oauth.client c where c.client_id = any (through));
end;

create function oauth.lines_of_decision(decision uuid) returns text[]
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select oauth.lines_behind(d.actor, array[audit.through(d.id)]) from audit.decision d where d.id = decision;
end;

-- As before, with the lines of the app.
create or replace function oauth.take_lines() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  self text := case tg_argv[0] when 'person' then 'person/' || (to_jsonb(new) ->> 'id') else to_jsonb(new) ->> 'client_id' end;
begin
  if self = 'operator' then
    raise exception 'no client is called operator, for so is whoever acts at the machine' using errcode = 'check_violation';
  end if;
  new.lines := case when oauth.by_operator(new.decision_id) then array[self]
                    else coalesce(oauth.lines_of_decision(new.decision_id), oauth.lines_of(self)) end;
  return new;
end $$;

create or replace function oauth.invited_again() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  inviter text := (select d.actor from audit.decision d
                    where d.id = new.invited_by and d.kind = 'person.invited_again' and d.outcome = 'allowed'
                      and d.subject_id = new.id::text);
begin
  if new.invited_by is distinct from old.invited_by then
    if inviter is null or new.status <> 'invited' or new.password_hash is not null or new.totp_secret is not null then
      raise exception 'who is invited again has neither password nor second factor, and a decision says who invited'
        using errcode = 'SW002';
    end if;
    new.lines := array(select distinct unnest(
      old.lines || case when oauth.by_operator(new.invited_by) then '{}' else oauth.lines_of_decision(new.invited_by) end));
  elsif new.invitation_hash is not null and new.invitation_hash is distinct from old.invitation_hash
        or new.status = 'invited' and old.status <> 'invited' then
    raise exception 'an invitation is made by registering a person or inviting one again' using errcode = 'SW002';
  end if;
  return new;
end $$;

-- As before, of each way in which an admin can act at `moment`: programs that do so by themselves, and people through each app
-- that lets them be admins. Two people who have but one app between them are nobody's second person.
create or replace function oauth.lines_of_admins(moment timestamptz) returns table (lines text[])
  language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select c.lines from oauth.client c
   where 'admin' = any (c.roles) and c.status = 'active' and (c.expires_at is null or c.expires_at > moment)
     and exists (select from unnest(c.scopes) s where s like 'system/%')
  union
  select p.lines || c.lines from oauth.person p, oauth.client c
   where 'admin' = any (p.roles) and p.status = 'active'
     and cardinality(c.redirect_uris) > 0 and 'admin' = any (c.roles) and c.status = 'active'
     and (c.expires_at is null or c.expires_at > moment)
     and exists (select from unnest(c.scopes) s where s like 'user/%');
end;

alter table sharewell.policy_version
  add column written_through  text[] not null default '{}',  -- apps by which it was drafted and edited
  add column approved_through text;
alter table sharewell.break_glass add column through text;

create function sharewell.take_apps() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.written_through := case tg_op when 'UPDATE' then old.written_through else '{}' end;
  if tg_op = 'INSERT' or new.policy_set <> old.policy_set then
    new.written_through := array_remove(new.written_through || audit.through(new.changed_by), null);
  end if;
  new.approved_through := case tg_op when 'UPDATE' then old.approved_through end;
  if new.approved_by is not null and new.state = 'approved' and (tg_op = 'INSERT' or old.state <> 'approved') then
    new.approved_through := audit.through(new.changed_by);
  end if;
  return new;
end $$;
create trigger apps before insert or update on sharewell.policy_version
  for each row execute function sharewell.take_apps();
alter table sharewell.policy_version enable always trigger apps;

-- As before, with the lines of the apps. An approval changes no files, so what `written_through` was counts.
create or replace function sharewell.approved_from_another_line() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- That the two are one is refused by the table's own constraint.
  if new.approved_by <> new.author
     and oauth.lines_behind(new.approved_by, array[audit.through(new.changed_by)])
         && oauth.lines_behind(new.author, new.written_through) then
    raise exception 'who approves a version has no line in common with who wrote it' using errcode = 'SW002';
  end if;
  return new;
end $$;

revoke all on function audit.through(uuid), oauth.lines_behind(text, text[]), oauth.lines_of_decision(uuid),
  sharewell.take_apps() from public;
grant execute on function oauth.lines_behind(text, text[]) to sharewell_gateway;
