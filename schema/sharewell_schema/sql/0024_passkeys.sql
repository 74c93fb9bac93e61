-- Passkeys (WebAuthn): what people sign in with instead of password and code. Only public keys are kept.

create table oauth.passkey (
  id          bytea primary key check (octet_length(id) between 16 and 1023),  -- the credential id
  person      uuid not null references oauth.person (id),
  credential  bytea not null check (octet_length(credential) <= 4096),  -- WebAuthn, 6.5.2: attested credential data
  sign_count  bigint not null check (sign_count between 0 and 4294967295),
  created_at  timestamptz not null,
  decision_id uuid not null references audit.staged (id)
);
create index on oauth.passkey (person);

-- A challenge that was shown on a page and not answered yet, hashed together with what it was shown for.
create table oauth.challenge (
  hash bytea primary key check (octet_length(hash) = 32),
  exp  timestamptz not null
);
create index on oauth.challenge (exp);

grant select, insert, update (sign_count) on oauth.passkey to sharewell_gateway;
grant select, insert, delete on oauth.challenge to sharewell_gateway;
grant select (decision_id) on oauth.passkey to sharewell_worker;

-- No passkey without the entry of its enrolment; that a counter went up is no decision. No passkey changes hands.
create trigger needs_entry_insert after insert on oauth.passkey referencing new table as touched
  for each statement execute function audit.require_own_entry();
create trigger never_emptied before truncate on oauth.passkey
  for each statement execute function audit.refuse_truncate();
alter table oauth.passkey enable always trigger needs_entry_insert, enable always trigger never_emptied;
