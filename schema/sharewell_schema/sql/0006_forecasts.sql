-- Forecasts by institution, resource and day, each with the model that made it and how it was scored.

-- Larger inputs of a decision, by the SHA-256 that the entry in the log carries.
create table sharewell.artifact (
  sha256 text primary key check (sha256 ~ '^[0-9a-f]{64}$'),
  kind   text not null,
  body   bytea not null check (encode(sha256(body), 'hex') = sha256)
);

-- Each time a new model was tried for all series of a resource that come as often: daily, or weekly. It is trained, asked
-- for past days together with what was in force, and adopted or kept out. The newest that was adopted is in force.
create table sharewell.forecast_trial (
  id          uuid primary key,
  resource    text not null references sharewell.resource (code),
  step_days   smallint not null check (step_days in (1, 7)),
  outcome     text not null check (outcome in ('adopted', 'refused', 'failed')),
  reason      text not null check ((reason = '') = (outcome = 'adopted')),
  model       text not null check (model ~ '^[0-9a-f]{64}$' or outcome = 'failed'),
  champion    text not null,
  origin      date not null,
  known_at    timestamptz not null,
  data_sha256 text not null,
  code        jsonb not null,
  training    jsonb not null,
  backtest    jsonb not null,
  decided_at  timestamptz not null,
  decision_id uuid not null unique references audit.decision (id)
);
create index on sharewell.forecast_trial (resource, step_days, id desc);
create index on sharewell.forecast_trial (model, id desc) where outcome = 'adopted';

-- One model over all series of a resource that come as often, applied to what was known at one moment.
create table sharewell.forecast_run (
  id          uuid primary key,
  resource    text not null references sharewell.resource (code),
  step_days   smallint not null check (step_days in (1, 7)),
  origin      date not null,
  model       text not null,
  trial_id    uuid references sharewell.forecast_trial (id),
  known_at    timestamptz not null,
  data_sha256 text not null,
  code_sha256 text not null,
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

-- What a region, or ('') all of them together, are expected to need; no plain sum of the quantiles above, since not all
-- institutions have their worst day on the same day.
create table sharewell.forecast_sum (
  run_id    uuid not null references sharewell.forecast_run (id),
  region    text not null,
  resource  text not null references sharewell.resource (code),
  target    date not null,
  horizon   smallint not null check (horizon > 0),
  levels    smallint[] not null,
  quantiles double precision[] not null check (cardinality(quantiles) = cardinality(levels)),
  primary key (resource, region, target, run_id)
);

-- Whether reality stays inside what was forecast, by series: a running check that is carried on with each new outcome.
-- When a series begins to drift, and when it is back, is a decision on record; a row that never drifted has none.
create table sharewell.forecast_watch (
  institution_id uuid not null references sharewell.institution (id),
  resource       text not null references sharewell.resource (code),
  state          text not null check (state in ('holding', 'drifting')),
  since          date check ((since is null) = (state = 'holding')),
  last_target    date not null,
  known_at       timestamptz not null,
  model          text not null,
  capital        double precision[] not null,
  life           integer not null,
  level          double precision not null,
  recent         text not null,
  judged         integer not null,
  missed         integer not null check (missed between 0 and judged),
  marked_by      uuid references audit.decision (id) check (marked_by is not null or state = 'holding'),
  primary key (institution_id, resource)
);
create index on sharewell.forecast_watch (resource, institution_id) where state = 'drifting';

grant select on
  sharewell.artifact, sharewell.forecast_trial, sharewell.forecast_run, sharewell.forecast, sharewell.forecast_sum,
  sharewell.forecast_watch
  to sharewell_gateway;
grant select, insert on
  sharewell.artifact, sharewell.forecast_trial, sharewell.forecast_run, sharewell.forecast, sharewell.forecast_sum,
  sharewell.forecast_watch
  to sharewell_worker;
-- Whose forecasts are watched never changes, how they do changes with every outcome.
grant update (state, since, last_target, known_at, model, capital, life, level, recent, judged, missed, marked_by)
  on sharewell.forecast_watch to sharewell_worker;
