-- Published files that were taken in, each once. The file itself stays outside; its hash says which one it was.

create table sharewell.feed (
  id                uuid primary key,
  format            text not null,
  dialect           text not null,
  sha256            text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  companion_sha256  text not null check (companion_sha256 ~ '^([0-9a-f]{64})?$'),
  name              text not null,
  bytes             integer not null check (bytes > 0),
  rows              integer not null check (rows >= 0),
  reports_new       integer not null check (reports_new >= 0),
  reports_corrected integer not null check (reports_corrected >= 0),
  reports_unchanged integer not null check (reports_unchanged >= 0),
  institutions_new  integer not null check (institutions_new >= 0),
  first_period      date,
  last_period       date,
  quality           jsonb not null,
  ingested_at       timestamptz not null,
  decision_id       uuid not null unique references audit.decision (id),
  -- The same file twice changes nothing, whoever brings it.
  constraint one_feed_a_file unique (format, sha256, companion_sha256)
);
comment on column sharewell.feed.companion_sha256 is 'Of the second file a format takes, such as locations; else empty.';
create index on sharewell.feed (format, id);

grant select on sharewell.feed to sharewell_gateway, sharewell_worker;
grant insert on sharewell.feed to sharewell_worker;
-- A later file may know where an institution is that an earlier one only named.
grant update (latitude, longitude) on sharewell.institution to sharewell_worker;
