-- What epochs that ended had in hand of a lost queue is owed: what they ran or gave back to nobody, and, where they did not end
-- by themselves, what they had completed in their last two minutes; never more than a worker has in hand.
-- $1 term, $2 the most that a worker has in hand of a queue
with hand as (
    delete from gaia.lost_hand where exists (select from gaia.leader where term = $1)
    returning *
)
insert into gaia.agenda as a (subsystem, key, due_at, reason)
select h.subsystem, j.key, now(), 'recheck'
from hand h
cross join lateral (
    select key from gaia.job
    where subsystem = h.subsystem and urgent = h.urgent and worker = h.worker and epoch = h.epoch
      and (state in ('running', 'queued') or h.silent and finished_at > h.at - interval '2 minutes')
    order by finished_at desc nulls first
    limit $2
) j
on conflict (subsystem, key) do update
set due_at = excluded.due_at, worker = null, epoch = null
where a.worker is not null
returning 1
