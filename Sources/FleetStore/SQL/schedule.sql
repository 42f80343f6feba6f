-- Jobs for later: in the ledger and on the agenda by one commit. A key that is taken is answered by what stands there.
-- One array per column: $1 subsystem, $2 key, $3 type, $4 payload, $5 reply-to, $6 correlation id, $7 subject,
-- $8 traceparent, $9 producer, $10 attempts at most (0: the type's own), $11 delay in ms, $12 deadline in ms after the delay,
-- $13 backoff, $14 urgent
with wanted as (
    select * from unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::int4[], $11::int8[], $12::int8[], $13::text[], $14::bool[]
    ) as w (subsystem, key, type, payload, reply_to, correlation_id, subject, traceparent, producer, attempts_max,
            delay_ms, deadline_ms, backoff, urgent)
), made as (
    insert into gaia.job (
        subsystem, key, type, state, attempts_max, payload, payload_hash, reply_to, correlation_id, subject,
        traceparent, producer, not_before, deadline_at, backoff, urgent)
    select subsystem, key, type, 'scheduled', attempts_max, payload, sha256(convert_to(payload, 'UTF8')), reply_to,
        correlation_id, subject, traceparent, producer, now() + delay_ms * interval '1 millisecond',
        now() + (delay_ms + deadline_ms) * interval '1 millisecond', backoff, urgent
    from wanted
    order by subsystem, key
    on conflict (subsystem, key) do nothing
    returning subsystem, key, not_before
), listed as (
    insert into gaia.agenda (subsystem, key, due_at, reason)
    select subsystem, key, not_before, 'scheduled' from made
    on conflict (subsystem, key) do update set due_at = excluded.due_at, reason = excluded.reason
)
select subsystem, key from made
