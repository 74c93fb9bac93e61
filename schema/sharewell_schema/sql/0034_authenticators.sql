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
