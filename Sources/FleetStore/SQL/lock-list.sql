-- Every lock with a row. One whose owner is gone is free, its row waits to be taken over or swept.
-- $1 a name, or null for all; $2 at most
select l.name, l.token, l.holder, w.name as worker, l.acquired_at, coalesce(l.expires_at, w.lease_until) as until,
    gaia.lock_lives(l.worker, l.epoch, l.expires_at) as live,
    (select count(*) from gaia.lock_waiter q where q.name = l.name) as waiters
from gaia.lock l
left join gaia.worker w on w.id = l.worker
where $1::text is null or l.name = $1
order by l.name
limit $2
