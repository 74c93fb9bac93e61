-- What was answered to which idempotency key: the same key and input get the same answer.

create table sharewell.answered (
  principal    text not null,
  key          text not null check (length(key) between 1 and 200),
  operation    text not null,
  input_sha256 text not null,
  answer       jsonb,
  answered_at  timestamptz not null,
  primary key (principal, key)
);

grant select, insert, update (answer) on sharewell.answered to sharewell_gateway;
