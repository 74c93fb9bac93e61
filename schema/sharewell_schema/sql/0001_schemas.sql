-- Four schemas, all owned by sharewell_migrator, who runs these files. Nobody else may make anything in them, and a
-- table or function is closed to every other role until its own file opens it.

create schema sharewell;
create schema audit;
create schema oauth;
create schema queue;

grant usage on schema sharewell to sharewell_gateway, sharewell_worker, sharewell_sequencer;
grant usage on schema audit to sharewell_gateway, sharewell_worker, sharewell_sequencer;
grant usage on schema oauth to sharewell_gateway;
grant usage on schema queue to sharewell_gateway, sharewell_worker, sharewell_sequencer;

-- Without this every function would be open to everybody from its first moment.
alter default privileges for role sharewell_migrator revoke execute on functions from public;
