-- The queue of a subsystem was deleted, and with it messages of jobs that the ledger knows: those of jobs that wait, which
-- are owed again now, and the unacknowledged ones of jobs that run, which are owed when their worker's epoch ends, as
-- parked ones are. Where a message is there after all, the claim decides.
-- $1 subsystem, $2 recheck of those that run after ms
insert into gaia.agenda (subsystem, key, due_at, reason, worker, epoch)
select subsystem, key, now() + case when state = 'running' then $2 else 0 end * interval '1 millisecond',
    case when state = 'running' then 'recheck' else 'scheduled' end,
    case when state = 'running' then worker end, case when state = 'running' then epoch end
from gaia.job
where subsystem = $1 and state in ('queued', 'running')
on conflict (subsystem, key) do nothing
returning 1
