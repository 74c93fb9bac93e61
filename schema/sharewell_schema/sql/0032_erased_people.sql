-- Name and login of a person who has no access any more can be erased, by a decision that names its ground. The row and
-- its id stay, so that entries still name somebody; nothing in it says whom.

alter table oauth.person
  add column erased_by uuid unique references audit.staged (id),
  add constraint erased_says_nothing check (
    erased_by is null
    or status = 'disabled' and name = '[erased]' and login = '[erased] ' || id::text and password_hash is null
       and totp_secret is null and totp_step = 0 and invitation_hash is null and invitation_until is null);
grant update (login, name, erased_by) on oauth.person to sharewell_gateway;
grant select (erased_by) on oauth.person to sharewell_worker;

create function oauth.erased() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (new.login, new.name, new.erased_by) is distinct from (old.login, old.name, old.erased_by)
     and (old.erased_by is not null or not audit.entry_is_staged() or not exists (
            select from audit.decision d
             where d.id = new.erased_by and d.kind = 'person.erased' and d.outcome = 'allowed'
               and d.subject_id = new.id::text)) then
    raise exception 'login and name change by an erasure only, once, and a decision says by which ground'
      using errcode = 'SW002';
  end if;
  return new;
end $$;
create trigger erased before update on oauth.person for each row execute function oauth.erased();
alter table oauth.person enable always trigger erased;
revoke all on function oauth.erased() from public;
