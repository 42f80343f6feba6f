-- A queue of jobs was lost, and with it messages of jobs that the ledger knows: those of jobs that wait, which are owed
-- again now, and the unacknowledged ones of jobs that run, which are owed when their worker's epoch ends, as parked ones
-- are. So are those of jobs that ended a moment ago, whose result their worker may not have published: the delivery that
-- would have had it published by another is gone. Where a message is there after all, the claim decides.
-- $1 subsystem, $2 urgent ones, $3 older than ms, $4 ended within ms, $5 recheck of what runs or has ended after ms
insert into gaia.agenda (subsystem, key, due_at, reason, worker, epoch)
select subsystem, key, now() + case when state = 'queued' then 0 else $5 end * interval '1 millisecond',
    case when state = 'queued' then 'scheduled' else 'recheck' end,
    case when state <> 'queued' then worker end, case when state <> 'queued' then epoch end
from gaia.job
where subsystem = $1 and urgent = $2 and created_at <= now() - $3 * interval '1 millisecond'
  and (state in ('queued', 'running') or finished_at > now() - $4 * interval '1 millisecond')
on conflict (subsystem, key) do nothing
returning 1
