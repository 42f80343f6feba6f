-- A queue of jobs was lost, and with it messages of jobs that the ledger knows: those of jobs that wait, which are owed
-- again now; the unacknowledged ones of jobs that run, which are owed when their worker's epoch ends, as parked ones are;
-- and of jobs that ended a moment ago on a worker that is gone, and may not have told of it. Where a message is there after
-- all, the claim decides. The loss is noted: what workers have in hand of it is seen to when they end (gaia.owe_lost).
-- $1 subsystem, $2 urgent ones, $3 older than ms, $4 whether the loss is certain, $5 recheck of what runs after ms
with owed as (
    insert into gaia.agenda (subsystem, key, due_at, reason, worker, epoch)
    select j.subsystem, j.key, now() + case when j.state = 'running' then $5 else 0 end * interval '1 millisecond',
        case when j.state = 'queued' then 'scheduled' else 'recheck' end,
        case when j.state = 'running' then j.worker end, case when j.state = 'running' then j.epoch end
    from gaia.job j
    where j.subsystem = $1 and j.urgent = $2
      and (j.state in ('queued', 'running') and j.created_at <= now() - $3 * interval '1 millisecond'
        or j.finished_at > now() - interval '2 minutes' and not exists (
            select from gaia.worker w
            where w.id = j.worker and w.epoch = j.epoch and w.state <> 'gone' and w.lease_until > now()))
    on conflict (subsystem, key) do nothing
    returning 1
), noted as (
    insert into gaia.lost_queue (subsystem, urgent)
    select $1, $2 where $4 or exists (select from owed)
    on conflict (subsystem, urgent) do update set at = excluded.at
)
select from owed
