-- People have several passkeys, each with a name of its own, and add and remove them on a page of ours.

alter table oauth.passkey
  add column name         text not null default 'First passkey' check (length(name) between 1 and 60),
  add column last_used_at timestamptz;
create unique index on oauth.passkey (decision_id);  -- what its owner's page calls it by
grant update (last_used_at) on oauth.passkey to sharewell_gateway;

-- Minutes in which somebody who has just signed in may change what signs in, in one browser. What the page holds counts
-- for one change, and any change ends every other visit of that person.
create table oauth.visit (
  hash    bytea primary key check (octet_length(hash) = 32),  -- of the page's handle and the browser
  person  uuid not null references oauth.person (id),
  by_code boolean not null,  -- signed in with password and code, not with a passkey
  exp     timestamptz not null
);
create index on oauth.visit (exp);
create index on oauth.visit (person);
grant select, insert, update (hash), delete on oauth.visit to sharewell_gateway;
