-- Claims everything that has arrived and may be taken: new, queued, due again, or running under an epoch that has ended.
-- A row that does not come back was not claimed; classify.sql says why, in a statement of its own, because this one
-- still sees the table as it was.
-- $1 worker, $2 epoch; then one array per column, a job per position
with arrived as (
    select * from unnest(
        $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
        $12::int4[], $13::int8[]
    ) as a (subsystem, key, type, payload, reply_to, correlation_id, subject, traceparent, producer, attempts_max,
            deadline_ms)
), me as (
    select id from gaia.worker where id = $1 and epoch = $2 and state <> 'gone' and lease_until > now()
)
insert into gaia.job as j (
    subsystem, key, type, state, attempt, attempts_max, token, worker, epoch, payload, payload_hash, reply_to,
    correlation_id, subject, traceparent, producer, claimed_at, deadline_at)
select a.subsystem, a.key, a.type, 'running', 1, a.attempts_max, 1, $1, $2, a.payload,
    sha256(convert_to(a.payload, 'UTF8')), a.reply_to, a.correlation_id, a.subject, a.traceparent, a.producer, now(),
    now() + a.deadline_ms * interval '1 millisecond'
from arrived a, me
order by a.subsystem, a.key
on conflict (subsystem, key) do update
set state = 'running',
    attempts_max = case when j.attempts_max = 0 then excluded.attempts_max else j.attempts_max end,
    -- A claim of this very epoch whose answer was lost has not been run: it is not charged twice.
    attempt = j.attempt + case when j.state = 'running' and j.worker = $1 and j.epoch = $2 then 0 else 1 end,
    token = j.token + 1,
    worker = $1,
    epoch = $2,
    claimed_at = now(),
    not_before = null
where j.type = excluded.type
  and j.payload_hash = excluded.payload_hash
  and (j.state = 'queued'
    or (j.state in ('scheduled', 'retrying') and j.not_before <= now())
    or (j.state = 'running' and (
        (j.worker = $1 and j.epoch = $2)
        or not exists (
            select from gaia.worker w
            where w.id = j.worker and w.epoch = j.epoch and w.state <> 'gone' and w.lease_until > now()))))
returning j.subsystem, j.key, j.attempt, j.attempts_max, j.token,
    (extract(epoch from j.deadline_at - now()) * 1000)::int8 as deadline_ms
