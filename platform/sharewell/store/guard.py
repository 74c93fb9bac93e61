"""What keeps even the owner of the audit log's tables from dropping, rewriting or unguarding them.

Only a superuser can put this in place, so no migration does: the embedded server's start and the bootstrap of a cluster
do (k8s/postgres/cluster.yaml has the same statements). It lives in a schema of its own, not in `audit`: dropping that
would drop the guard first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncpg

#: Statements that may be run again and again, in order, by a superuser in the database of the log.
GUARD: Final = (
    "create schema if not exists guard",
    # Enlisted by themselves once they carry their trigger: tables that only grow, and the function that says so.
    "create table if not exists guard.kept (name text primary key, source text)",
    "revoke all on schema guard from public",
    "revoke all on guard.kept from public",
    """\
create or replace function guard.keep_the_log() returns event_trigger
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  broken text;
begin
  if current_setting('sharewell.break_glass', true) = 'on'
     and (select rolsuper from pg_roles where rolname = session_user) then
    return;
  end if;
  if tg_event = 'sql_drop' then
    select object_identity into broken from pg_event_trigger_dropped_objects()
     where object_type in ('schema', 'table', 'table column', 'table constraint', 'trigger')
       and coalesce(schema_name, address_names[1]) in ('audit', 'witness', 'guard')
       -- What people search by is made from the entries, and a migration may make it anew; dropped it cannot be.
       and (object_type in ('schema', 'table') or address_names[2] not in ('decision', 'header'))
       -- Those of a foreign key go with the table that refers to the log.
       and (object_type <> 'trigger' or address_names[3] !~ '^RI_ConstraintTrigger_') limit 1;
  elsif tg_event = 'table_rewrite' then
    select name into broken from guard.kept where to_regclass(name) = pg_event_trigger_table_rewrite_oid();
  else
    insert into guard.kept (name)
      select n.nspname || '.' || c.relname
        from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
       where n.nspname in ('audit', 'witness') and c.relname not in ('decision', 'header')
         and t.tgname = 'only_grows' and t.tgenabled = 'A'
      on conflict do nothing;
    insert into guard.kept (name, source)
      select 'audit.refuse_change()', prosrc from pg_proc where oid = to_regprocedure('audit.refuse_change()')
      on conflict do nothing;
    select k.name into broken from guard.kept k
     where k.source is null
       and (exists (select from pg_rewrite where ev_class = to_regclass(k.name))
            or not exists (
              select from pg_trigger where tgrelid = to_regclass(k.name) and tgname = 'only_grows' and tgenabled = 'A'
                 and tgfoid = to_regprocedure('audit.refuse_change()')))
        or k.source is distinct from (select prosrc from pg_proc where oid = to_regprocedure(k.name))
           and k.source is not null limit 1;
  end if;
  if broken is not null then
    raise exception 'the audit log is kept as it is: % is refused for %', lower(tg_tag), broken
      using errcode = 'insufficient_privilege';
  end if;
end
$$""",
    "revoke all on function guard.keep_the_log() from public",
    """\
do $$
declare
  event text;
begin
  foreach event in array array['ddl_command_end', 'sql_drop', 'table_rewrite'] loop
    if not exists (select from pg_event_trigger where evtname = 'keep_the_log_' || event) then
      execute format(
        'create event trigger %I on %s execute function guard.keep_the_log()', 'keep_the_log_' || event, event);
    end if;
    -- ALWAYS: also where session_replication_role would skip ordinary triggers.
    execute format('alter event trigger %I enable always', 'keep_the_log_' || event);
  end loop;
end
$$""",
)


async def put_guard(conn: asyncpg.Connection[Any]) -> None:
    """Guard the log in this database; `conn` must be a superuser's."""
    async with conn.transaction():
        for statement in GUARD:
            await conn.execute(statement)
