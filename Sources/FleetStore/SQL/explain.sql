-- What bears on where a job is, besides its own row: its owner, the agenda, locks, pauses and wishes to call it off.
-- $1 subsystem, $2 key, $3 class of liveness locks
select j.state, j.attempt, j.attempts_max, j.not_before, j.not_before <= now() as may_run,
    (extract(epoch from j.not_before - now()) * 1000)::int8 as wait_ms, j.claimed_at, j.finished_at, j.created_at,
    j.replayed_at, j.deadline_at, j.deadline_at <= now() as is_late, j.crashes, j.urgent, j.type,
    w.name as worker, w.state as worker_state,
    coalesce(w.epoch = j.epoch and w.state <> 'gone' and w.lease_until > now(), false) as is_owned,
    exists (
        select from pg_locks l
        where l.locktype = 'advisory' and l.granted and l.objsubid = 2
          and l.database = (select oid from pg_database where datname = current_database())
          and l.classid::bigint = $3::bigint and l.objid::bigint = w.id) as is_connected,
    g.reason as owed_reason, g.due_at as owed_at, g.due_at <= now() as is_due,
    c.reason as called_off, c.requested_at as called_off_at,
    p.scope as pause, p.reason as pause_reason, p.since as paused_at,
    lw.name as lock_awaited, lh.holder as lock_holder, hw.name as lock_worker,
    (select string_agg(held.name, ', ' order by held.name) from gaia.lock held
        where held.worker = j.worker and held.epoch = j.epoch and held.holder = j.subsystem || '/' || j.key) as locks_held,
    j.progress ->> 'fraction' as fraction, j.progress ->> 'note' as note,
    (select count(*) from gaia.waiter t where t.subsystem = j.subsystem and t.key = j.key) as waiters
from gaia.job j
left join gaia.worker w on w.id = j.worker
left join gaia.agenda g on g.subsystem = j.subsystem and g.key = j.key
left join gaia.cancellation c on c.subsystem = j.subsystem and c.key = j.key
left join lateral (
    select * from gaia.pause p where p.scope in ('*', j.subsystem, j.type) order by p.scope limit 1
) p on true
left join lateral (
    select * from gaia.lock_waiter lw
    where lw.worker = j.worker and lw.epoch = j.epoch and lw.holder = j.subsystem || '/' || j.key and lw.until > now()
    limit 1
) lw on j.state = 'running'
left join gaia.lock lh on lh.name = lw.name
left join gaia.worker hw on hw.id = lh.worker
where j.subsystem = $1 and j.key = $2
