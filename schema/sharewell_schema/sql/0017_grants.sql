-- What clients may be registered with beside keys of their own, the people who sign in, and what they grant.
-- Nothing secret is stored readable: codes, refresh tokens and invitations as SHA-256, passwords as argon2id.

alter table oauth.client
  add column jwks_uri           text check (jwks_uri ~ '^https?://[^[:space:]]+$' and length(jwks_uri) <= 500),
  add column redirect_uris      text[] not null default '{}' check (cardinality(redirect_uris) <= 10),
  add column rate_class         text not null default 'standard' check (rate_class in ('low', 'standard', 'high')),
  add column sender_constrained boolean not null default false,
  add column purposes           text[] not null default '{}' check (
                                  purposes <@ array['TREAT', 'ETREAT', 'HOPERAT', 'PUBHLTH', 'HRESCH', 'HSYSADMIN']),
  drop constraint client_jwks_check,
  drop constraint client_scopes_check,
  drop constraint institutions_act_for_one,
  add constraint client_jwks_check check (
    jsonb_typeof(jwks -> 'keys') = 'array' and jsonb_array_length(jwks -> 'keys') between 0 and 8),
  -- Without a key it is a program on people's own devices, which can keep no secret: it acts for nobody but them.
  add constraint keys_or_people check (
    jsonb_array_length(jwks -> 'keys') > 0 or jwks_uri is not null
    or (cardinality(redirect_uris) > 0 and array_to_string(scopes, ' ') !~ 'system/')),
  add constraint client_scopes_check check (
    cardinality(scopes) between 1 and 64
    and array_to_string(scopes, ' ') ~
      '^(system|user)/(\*|[A-Z][a-z]+)\.[cruds]{1,5}( (system|user)/(\*|[A-Z][a-z]+)\.[cruds]{1,5})*$'),
  add constraint institutions_act_for_one check (
    not roles && array['institution', 'device'] or institution is not null
    or array_to_string(scopes, ' ') !~ 'system/');

-- People who sign in. Name and login stand here alone: the audit log knows a person by this random id.
create table oauth.person (
  id               uuid primary key,
  login            text not null unique check (login = lower(login) and length(login) between 3 and 200),
  name             text not null check (length(name) between 1 and 200),
  roles            text[] not null check (
                     cardinality(roles) between 1 and 5
                     and roles <@ array['institution', 'allocator', 'regulator', 'admin']),
  institution      uuid,
  status           text not null default 'invited' check (status in ('invited', 'active', 'disabled')),
  created_at       timestamptz not null,
  invitation_hash  bytea unique check (octet_length(invitation_hash) = 32),
  invitation_until timestamptz,
  password_hash    text check (password_hash ~ '^\$argon2id\$'),
  totp_secret      text,
  totp_step        bigint not null default 0,
  decision_id      uuid not null unique references audit.decision (id),
  disabled_by      uuid unique references audit.decision (id),
  constraint people_of_an_institution check (not roles && array['institution'] or institution is not null),
  constraint active_can_sign_in check (status <> 'active' or (password_hash is not null and totp_secret is not null)),
  constraint disabled_by_a_decision check ((status = 'disabled') = (disabled_by is not null))
);

-- Failed tries by what was typed as login, known here or not: to a stranger both look alike.
create table oauth.attempt (
  login_hash   bytea primary key check (octet_length(login_hash) = 32),
  failures     int not null,
  locked_until timestamptz not null,
  forget_at    timestamptz not null
);
create index on oauth.attempt (forget_at);

-- What one consent of a person gives one client, until it ends or is taken back.
create table oauth.family (
  id          uuid primary key,
  client_id   text not null references oauth.client (client_id),
  person      uuid not null references oauth.person (id),
  scopes      text[] not null,
  purpose     text,
  key         text,  -- RFC 7638 thumbprint of the key its tokens are bound to (RFC 9449)
  created_at  timestamptz not null,
  expires_at  timestamptz not null check (expires_at > created_at),
  decision_id uuid not null unique references audit.decision (id),
  revoked_by  uuid unique references audit.decision (id)
);

-- One authorization under way, from the request to the code. Pushed or not, it is known by an unguessable handle.
create table oauth.authorization (
  handle_hash   bytea primary key check (octet_length(handle_hash) = 32),
  client_id     text not null references oauth.client (client_id),
  redirect_uri  text not null check (length(redirect_uri) <= 500),
  scopes        text[] not null,
  state         text check (length(state) <= 500),
  challenge     text not null check (challenge ~ '^[A-Za-z0-9_-]{43}$'),  -- S256 only (RFC 7636)
  purpose       text,
  key           text,
  expires_at    timestamptz not null,
  browser_hash  bytea check (octet_length(browser_hash) = 32),  -- the browser that shows the page, and no other
  person        uuid references oauth.person (id),
  code_hash     bytea unique check (octet_length(code_hash) = 32),
  code_used_at  timestamptz,
  family        uuid references oauth.family (id)
);
create index on oauth.authorization (expires_at);

create table oauth.refresh (
  hash      bytea primary key check (octet_length(hash) = 32),
  family    uuid not null references oauth.family (id),
  issued_at timestamptz not null,
  used_at   timestamptz
);
create index on oauth.refresh (issued_at);

-- Access tokens, and families of them, that were called back before their end.
create table oauth.revoked (
  name        text primary key check (length(name) between 1 and 100),
  exp         timestamptz not null,
  decision_id uuid not null references audit.decision (id)
);
create index on oauth.revoked (exp);

-- A proof of possession counts once (RFC 9449, 11.1).
create table oauth.proof (
  key text not null check (length(key) = 43),
  jti text not null check (length(jti) = 64),
  exp timestamptz not null,
  primary key (key, jti)
);
create index on oauth.proof (exp);

grant select, insert, update (status, disabled_by, invitation_hash, invitation_until, password_hash, totp_secret, totp_step)
  on oauth.person to sharewell_gateway;
grant select, insert, update (failures, locked_until, forget_at), delete on oauth.attempt to sharewell_gateway;
grant select, insert, update (revoked_by) on oauth.family to sharewell_gateway;
grant select, insert, delete, update (browser_hash, person, code_hash, code_used_at, family, expires_at)
  on oauth.authorization to sharewell_gateway;
grant select, insert, update (used_at), delete on oauth.refresh to sharewell_gateway;
grant select, insert, delete on oauth.revoked, oauth.proof to sharewell_gateway;

-- As with assertions: what was used up or called back is forgotten only once it has expired.
alter table oauth.proof enable row level security;
create policy burn on oauth.proof for insert to sharewell_gateway with check (true);
create policy look on oauth.proof for select to sharewell_gateway using (true);
create policy forget on oauth.proof for delete to sharewell_gateway using (exp < now());
alter table oauth.refresh enable row level security;
create policy issue on oauth.refresh for insert to sharewell_gateway with check (true);
create policy look on oauth.refresh for select to sharewell_gateway using (true);
create policy spend on oauth.refresh for update to sharewell_gateway using (true) with check (used_at is not null);
create policy forget on oauth.refresh for delete to sharewell_gateway using (issued_at < now() - interval '31 days');
alter table oauth.revoked enable row level security;
create policy call_back on oauth.revoked for insert to sharewell_gateway with check (true);
create policy look on oauth.revoked for select to sharewell_gateway using (true);
create policy forget on oauth.revoked for delete to sharewell_gateway using (exp < now());

-- No consent, no revocation and no person without an entry of its own in the same transaction, and none for whether a
-- person can sign in either. A second factor that is not confirmed yet, and a code that is spent, are no decisions.
call audit.guard('oauth.family', true);
create trigger needs_entry_insert after insert on oauth.person referencing new table as touched
  for each statement execute function audit.require_own_entry();
create trigger needs_entry_insert after insert on oauth.revoked referencing new table as touched
  for each statement execute function audit.require_own_entry();
create function oauth.require_entry_for_access() returns trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from before join after using (id)
     where (before.status, before.disabled_by, before.password_hash)
           is distinct from (after.status, after.disabled_by, after.password_hash))
     and not audit.entry_is_staged() then
    raise exception 'who can sign in is not changed without an entry in the same transaction' using errcode = 'SW004';
  end if;
  return null;
end
$$;
create trigger needs_entry_update after update on oauth.person referencing old table as before new table as after
  for each statement execute function oauth.require_entry_for_access();
revoke all on function oauth.require_entry_for_access() from public;
alter table oauth.person enable always trigger needs_entry_insert, enable always trigger needs_entry_update;
alter table oauth.revoked enable always trigger needs_entry_insert;
-- Whoever proves that nothing is missing sees which decisions are named here, and nothing else of people.
grant select (decision_id, disabled_by) on oauth.person to sharewell_worker;
grant select (decision_id, revoked_by) on oauth.family to sharewell_worker;
