-- The GraphQL documents that a client may send, and nothing else; the newest list of a client is in force.

create table oauth.trusted_documents (
  decision_id uuid primary key references audit.staged (id),
  client_id   text not null references oauth.client (client_id),
  texts       jsonb not null check (jsonb_typeof(texts) = 'object'),  -- by SHA-256
  trusted_at  timestamptz not null
);
create index on oauth.trusted_documents (client_id, decision_id desc);
create trigger never_rewritten before update or delete or truncate on oauth.trusted_documents
  for each statement execute function sharewell.never_rewritten();
alter table oauth.trusted_documents enable always trigger never_rewritten;
call audit.guard('oauth.trusted_documents', true);

grant select, insert on oauth.trusted_documents to sharewell_gateway;
grant select (decision_id) on oauth.trusted_documents to sharewell_worker;
