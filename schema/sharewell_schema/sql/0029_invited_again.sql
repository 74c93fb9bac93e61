-- A person who lost the invitation or the second factor is invited again: what signed in before is dead. Whoever invites
-- again could sign in as that person, so the person is of that admin's line, too, from then on and for good.

alter table oauth.person add column invited_by uuid unique references audit.staged (id);
grant update (invited_by) on oauth.person to sharewell_gateway;
grant select (id, invited_by) on oauth.person to sharewell_worker;
create index on oauth.family (person) where revoked_by is null;

create function oauth.invited_again() returns trigger
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
      old.lines || case when oauth.by_operator(new.invited_by) then '{}' else oauth.lines_of(inviter) end));
  elsif new.invitation_hash is not null and new.invitation_hash is distinct from old.invitation_hash
        or new.status = 'invited' and old.status <> 'invited' then
    raise exception 'an invitation is made by registering a person or inviting one again' using errcode = 'SW002';
  end if;
  return new;
end $$;
create trigger invited_again before update on oauth.person for each row execute function oauth.invited_again();
alter table oauth.person enable always trigger invited_again;
revoke all on function oauth.invited_again() from public;

-- A passkey goes by a decision, too: with all others of a person who is invited again.
grant delete on oauth.passkey to sharewell_gateway;
create trigger needs_entry_delete after delete on oauth.passkey referencing old table as touched
  for each statement execute function audit.require_entry();
alter table oauth.passkey enable always trigger needs_entry_delete;
