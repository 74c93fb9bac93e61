-- An offer names the decision that changed it last, so that who withdraws it can say what it read. Of all other nouns that
-- change, `decision_id` says it; of an offer that one says who published it, and is asked for.

alter table sharewell.offer add column changed_by uuid references audit.staged (id);
-- The guard wants an entry for each row that is written; no decision is made here.
alter table sharewell.offer disable trigger needs_entry_update;
update sharewell.offer o
   set changed_by = coalesce(
     (select t.decision_id from sharewell.transfer t where t.offer_id = o.id order by t.decision_id desc limit 1),
     o.decision_id);
alter table sharewell.offer enable always trigger needs_entry_update;
alter table sharewell.offer alter column changed_by set not null;
grant update (changed_by) on sharewell.offer to sharewell_gateway;

-- As before; who promises units of an offer, or frees them, changes it.
create or replace function sharewell.count_promised_units() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  freed constant text[] := array['declined', 'expired', 'cancelled', 'returned'];
  before integer := 0;
  after integer := 0;
begin
  if tg_op = 'UPDATE' then
    if (old.offer_id, old.request_id, old.giver_id, old.receiver_id, old.resource, old.quantity)
       is distinct from
       (new.offer_id, new.request_id, new.giver_id, new.receiver_id, new.resource, new.quantity) then
      raise exception 'a transfer changes its state, never its units or parties' using errcode = 'SW002';
    end if;
    if not old.state = any (freed) then before := least(old.quantity, old.dispatched); end if;
  end if;
  if not new.state = any (freed) then after := least(new.quantity, new.dispatched); end if;
  if after <> before then
    update sharewell.offer set promised = promised + after - before, changed_by = new.decision_id
     where id = new.offer_id and (after < before or status = 'open');
    if not found then
      raise exception 'the offer is withdrawn' using errcode = 'SW003';
    end if;
  end if;
  insert into sharewell.transfer_step (transfer_id, state, at, decision_id)
    select new.id, new.state, new.changed_at, new.decision_id
     where tg_op = 'INSERT' or old.state is distinct from new.state;
  return null;
end $$;
