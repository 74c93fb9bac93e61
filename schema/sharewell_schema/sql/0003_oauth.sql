-- OAuth clients and the assertions they have used up.
-- Only public keys are stored; a private one is refused here, whatever the application does.
-- A client's institution has no foreign key: institutions come into being later, and are never deleted.

create table oauth.client (
  client_id   text primary key check (client_id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{2,99}$'),
  name        text not null check (length(name) between 1 and 200),
  roles       text[] not null check (
                cardinality(roles) between 1 and 5
                and roles <@ array['institution', 'device', 'allocator', 'regulator', 'admin']),
  scopes      text[] not null check (
                cardinality(scopes) between 1 and 64
                and array_to_string(scopes, ' ') ~ '^system/(\*|[A-Z][a-z]+)\.[cruds]{1,5}( system/[A-Z][a-z]+\.[cruds]{1,5})*$'),
  jwks        jsonb not null check (
                jsonb_typeof(jwks -> 'keys') = 'array' and jsonb_array_length(jwks -> 'keys') between 1 and 8),
  institution uuid,
  status      text not null default 'active' check (status in ('active', 'disabled')),
  expires_at  timestamptz check (expires_at > created_at),
  created_at  timestamptz not null,
  decision_id uuid not null unique references audit.decision (id),
  disabled_by uuid unique references audit.decision (id),
  constraint only_public_keys check (
    not jsonb_path_exists(jwks, '$.keys[*] ? (exists (@.d) || exists (@.p) || exists (@.q) || exists (@.k))')),
  constraint institutions_act_for_one check (
    not roles && array['institution', 'device'] or institution is not null),
  constraint disabled_by_a_decision check ((status = 'disabled') = (disabled_by is not null))
);
create index on oauth.client (institution) where institution is not null;

-- An assertion counts once (RFC 7523, 3). The row is kept until the assertion is too old to be accepted anyway.
create table oauth.jti (
  client_id text not null references oauth.client (client_id),
  jti       text not null check (length(jti) between 1 and 256),
  exp       timestamptz not null,
  primary key (client_id, jti)
);
create index on oauth.jti (exp);

grant select, insert, update (status, disabled_by) on oauth.client to sharewell_gateway;
grant select, insert, delete on oauth.jti to sharewell_gateway;

-- The gateway may forget an assertion only once it has expired: not even a fault there can make one count twice.
alter table oauth.jti enable row level security;
create policy burn on oauth.jti for insert to sharewell_gateway with check (true);
create policy look on oauth.jti for select to sharewell_gateway using (true);
create policy forget on oauth.jti for delete to sharewell_gateway using (exp < now());
