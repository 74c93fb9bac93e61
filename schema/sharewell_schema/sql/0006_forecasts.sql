-- Forecasts by institution, resource and day, each with the model that made it and how it was scored.

-- Larger inputs of a decision, by the SHA-256 that the entry in the log carries.
create table sharewell.artifact (
  sha256 text primary key check (sha256 ~ '^[0-9a-f]{64}$'),
  kind   text not null,
  body   bytea not null check (encode(sha256(body), 'hex') = sha256)
);

-- One model over all series of a resource that come as often: daily, or weekly.
create table sharewell.forecast_run (
  id          uuid primary key,
  resource    text not null references sharewell.resource (code),
  step_days   smallint not null check (step_days in (1, 7)),
  origin      date not null,
  model       text not null,
  data_sha256 text not null,
  backtest    jsonb not null,
  series      integer not null,
  fallbacks   integer not null,
  adopted_at  timestamptz not null,
  decision_id uuid not null unique references audit.decision (id)
);
create index on sharewell.forecast_run (resource, step_days, id desc);

create table sharewell.forecast (
  run_id         uuid not null references sharewell.forecast_run (id),
  institution_id uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  target         date not null,
  horizon        smallint not null check (horizon > 0),
  levels         smallint[] not null,
  quantiles      double precision[] not null check (cardinality(quantiles) = cardinality(levels)),
  method         text not null,
  fallback       text not null,
  primary key (institution_id, resource, target, run_id)
);
create index on sharewell.forecast (run_id);

grant select on sharewell.artifact, sharewell.forecast_run, sharewell.forecast to sharewell_gateway;
grant select, insert on sharewell.artifact, sharewell.forecast_run, sharewell.forecast to sharewell_worker;
