-- Queues of jobs that were lost, and when last. What a worker still had in hand of such a queue has no message any more that
-- would come again when the worker dies, and some of it the ledger did not know yet when the loss was seen to.
create table gaia.lost_queue (
    subsystem text not null,
    urgent boolean not null,
    at timestamptz not null default now(),
    primary key (subsystem, urgent)
);

-- When an epoch ends, by whomever, what it held of a queue that was lost within the last day is owed: what it ran, and what
-- it gave back to nobody. A worker that did not end by itself may also have completed jobs without telling of it.
create function gaia.owe_lost() returns trigger
language plpgsql as $$
declare
    has_told constant boolean := new.state <> 'gone' or new.lease_until <> old.lease_until;
begin
    insert into gaia.agenda as a (subsystem, key, due_at, reason)
    select j.subsystem, j.key, now(), 'recheck'
    from gaia.lost_queue l
    join gaia.job j on j.subsystem = l.subsystem and j.urgent = l.urgent
    where l.at > now() - interval '1 day' and j.worker = old.id and j.epoch = old.epoch
      and (j.state in ('running', 'queued') or not has_told and j.finished_at > now() - interval '2 minutes')
    on conflict (subsystem, key) do update
    set due_at = excluded.due_at, worker = null, epoch = null
    where a.worker is not null;
    return null;
end
$$;
create trigger worker_lost_queues after update of epoch on gaia.worker
for each row when (old.epoch <> new.epoch) execute function gaia.owe_lost();

revoke execute on function gaia.owe_lost from public;
