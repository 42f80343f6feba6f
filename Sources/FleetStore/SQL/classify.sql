-- Why jobs were not claimed. One that is in flight elsewhere is parked: whom to answer is written down, and the agenda
-- holds a delivery in its place, so that the one in hand may be acknowledged. The row is locked while that is done:
-- either the owner's completion sees the waiter, or this statement sees the completion.
-- $1 worker, $2 epoch; $3… one array per column; $9 recheck after ms
with arrived as (
    select * from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
        as a (subsystem, key, type, payload, reply_to, correlation_id)
), me as (
    select id from gaia.worker where id = $1 and epoch = $2 and state <> 'gone' and lease_until > now()
), seen as (
    select j.subsystem, j.key, j.type, j.state, j.attempt, j.finished_at, j.output, j.errors, j.worker, j.epoch, j.not_before,
        a.reply_to, a.correlation_id,
        case
            when j.type <> a.type or j.payload_hash <> sha256(convert_to(a.payload, 'UTF8')) then 'conflict'
            when j.payload_hash is null and j.payload::jsonb <> a.payload::jsonb then 'conflict'
            when j.state in ('succeeded', 'discarded', 'cancelled', 'indeterminate') then 'finished'
            when not exists (select from me) then 'fenced'
            when j.state in ('scheduled', 'retrying') and j.not_before > now() then 'waiting'
            when j.state = 'running' and exists (
                select from gaia.worker w
                where w.id = j.worker and w.epoch = j.epoch and w.state <> 'gone' and w.lease_until > now())
            then 'running'
            else 'takeable'
        end as verdict
    from gaia.job j
    join arrived a on j.subsystem = a.subsystem and j.key = a.key
    order by j.subsystem, j.key
    for share of j
), parked as (
    insert into gaia.waiter (subsystem, key, reply_to, correlation_id)
    select subsystem, key, reply_to, coalesce(correlation_id, key)
    from seen
    where verdict in ('running', 'waiting') and reply_to is not null
    on conflict do nothing
), owed as (
    insert into gaia.agenda (subsystem, key, due_at, reason, worker, epoch)
    select subsystem, key, now() + $9 * interval '1 millisecond', 'recheck', worker, epoch
    from seen
    where verdict = 'running'
    on conflict (subsystem, key) do update
    -- A running job's row for a retry or a schedule has had its day: whoever it was owed to was noted by the claim, and
    -- staged.sql, which strikes out that time only, must not take this reminder with it.
    set due_at = excluded.due_at, reason = 'recheck', worker = excluded.worker, epoch = excluded.epoch
), early as (
    -- The delivery may be the very one that the agenda's row owed, published just before the database's clock went back.
    -- The row, not yet struck out, is all that remembers the job then; moved by a moment, it is owed anew and stays.
    insert into gaia.agenda (subsystem, key, due_at, reason)
    select subsystem, key, not_before, case state when 'scheduled' then 'scheduled' else 'retry' end
    from seen
    where verdict = 'waiting'
    on conflict (subsystem, key) do update
    set due_at = gaia.agenda.due_at + interval '1 microsecond'
)
select a.subsystem, a.key, coalesce(s.verdict, case when exists (select from me) then 'takeable' else 'fenced' end) as verdict,
    s.type, s.state, s.attempt, s.finished_at, s.output, ((s.errors -> -1) - 'at')::text as error
from arrived a
left join seen s on s.subsystem = a.subsystem and s.key = a.key
