-- Jobs whose type rests go on the agenda, for a time that does not come by itself, and their deliveries may be
-- acknowledged. One that runs or is finished is left alone, and does not come back here.
-- One array per column, a job per position, as in claim.sql without its first two: $1 subsystems, $2 keys, $3 types,
-- $4 payloads, $5 reply-tos, $6 correlation ids, $7 subjects, $8 traceparents, $9 producers, $10 attempts at most,
-- $11 deadlines, $12 repeatable, $13 backoffs, $14 urgent
with arrived as (
    select * from unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::int4[], $11::int8[], $12::bool[], $13::text[], $14::bool[]
    ) as a (subsystem, key, type, payload, reply_to, correlation_id, subject, traceparent, producer, attempts_max,
            deadline_ms, repeatable, backoff, urgent)
), held as (
    insert into gaia.job as j (
        subsystem, key, type, state, attempts_max, payload, payload_hash, reply_to, correlation_id, subject, traceparent,
        producer, not_before, deadline_at, repeatable, backoff, urgent)
    select a.subsystem, a.key, a.type, 'scheduled', a.attempts_max, a.payload, sha256(convert_to(a.payload, 'UTF8')),
        a.reply_to, a.correlation_id, a.subject, a.traceparent, a.producer, now() + interval '100 years',
        now() + a.deadline_ms * interval '1 millisecond', a.repeatable, a.backoff, a.urgent
    from arrived a
    order by a.subsystem, a.key
    on conflict (subsystem, key) do update
    set state = case j.state when 'queued' then 'scheduled' else j.state end,
        not_before = case when j.state = 'running' then null else excluded.not_before end
    where j.type = excluded.type and j.payload_hash = excluded.payload_hash
      and (j.state = 'queued'
        or j.state in ('scheduled', 'retrying') and j.not_before <= now()
        -- Its worker was lost: to be claimed again, but not now.
        or j.state = 'running' and not exists (
            select from gaia.worker w
            where w.id = j.worker and w.epoch = j.epoch and w.state <> 'gone' and w.lease_until > now()))
    returning j.subsystem, j.key
), owed as (
    insert into gaia.agenda (subsystem, key, due_at, reason)
    select subsystem, key, now() + interval '100 years', 'held' from held
    on conflict (subsystem, key) do update
    set due_at = excluded.due_at, reason = 'held', worker = null, epoch = null
)
select subsystem, key from held
