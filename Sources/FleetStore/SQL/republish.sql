-- A queue of jobs was lost, and with it messages of jobs that the ledger knows: those of jobs that wait, which are owed
-- again now; the unacknowledged ones of jobs that run, which are owed when their worker's epoch ends, as parked ones are;
-- and of jobs that ended a moment ago on a worker that is gone without having ended by itself, and may not have told of it:
-- never more of them than a worker has in hand. Where a message is there after all, the claim decides. The loss is noted:
-- what workers have in hand of it is seen to when they end (gaia.note_lost_hand).
-- $1 subsystem, $2 urgent ones, $3 older than ms, $4 whether the loss is certain, $5 recheck of what runs after ms,
-- $6 the most that a worker has in hand of a queue
with lost as (
    select j.key, j.state, j.worker, j.epoch, j.finished_at,
        row_number() over (partition by j.worker, j.epoch, j.state in ('queued', 'running')
            order by j.finished_at desc) as place
    from gaia.job j
    where j.subsystem = $1 and j.urgent = $2
      and (j.state in ('queued', 'running') and j.created_at <= now() - $3 * interval '1 millisecond'
        or j.finished_at > now() - interval '2 minutes' and not exists (
            select from gaia.worker w
            where w.id = j.worker
              and (w.epoch = j.epoch and w.state <> 'gone' and w.lease_until > now()
                or w.epoch = j.epoch + 1 and w.state = 'gone' and w.lease_until = w.gone_at)))
), owed as (
    insert into gaia.agenda (subsystem, key, due_at, reason, worker, epoch)
    select $1, l.key, now() + case when l.state = 'running' then $5 else 0 end * interval '1 millisecond',
        case when l.state = 'queued' then 'scheduled' else 'recheck' end,
        case when l.state = 'running' then l.worker end, case when l.state = 'running' then l.epoch end
    from lost l
    where l.state in ('queued', 'running') or l.place <= $6
    on conflict (subsystem, key) do nothing
    returning 1
), noted as (
    insert into gaia.lost_queue (subsystem, urgent)
    select $1, $2 where $4 or exists (select from owed)
    on conflict (subsystem, urgent) do update set at = excluded.at
)
select from owed
