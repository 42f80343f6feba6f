-- Claims everything that has arrived and may be taken: new, queued, due again, or running under an epoch that has ended.
-- A row that does not come back was not claimed; classify.sql says why, in a statement of its own, because this one
-- still sees the table as it was. Some jobs end by being claimed: one that was called off, one that must not be
-- repeated and whose worker was lost, one whose worker was lost while it ran nothing else. They come back with that state.
-- $1 worker, $2 epoch; then one array per column, a job per position
with arrived as (
    select a.*, exists (
        select from gaia.cancellation c where c.subsystem = a.subsystem and c.key = a.key) as called_off
    from unnest(
        $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
        $12::int4[], $13::int8[], $14::bool[], $15::text[], $16::bool[]
    ) as a (subsystem, key, type, payload, reply_to, correlation_id, subject, traceparent, producer, attempts_max,
            deadline_ms, repeatable, backoff, urgent)
), me as (
    select id from gaia.worker where id = $1 and epoch = $2 and state <> 'gone' and lease_until > now()
), taken as (
    insert into gaia.job as j (
        subsystem, key, type, state, attempt, attempts_max, token, worker, epoch, payload, payload_hash, reply_to,
        correlation_id, subject, traceparent, producer, claimed_at, deadline_at, repeatable, backoff, urgent, finished_at,
        errors)
    select a.subsystem, a.key, a.type, case when a.called_off then 'cancelled' else 'running' end,
        case when a.called_off then 0 else 1 end, a.attempts_max, 1, $1, $2, a.payload,
        sha256(convert_to(a.payload, 'UTF8')), a.reply_to, a.correlation_id, a.subject, a.traceparent, a.producer, now(),
        now() + a.deadline_ms * interval '1 millisecond', a.repeatable, a.backoff, a.urgent,
        case when a.called_off then now() end,
        case when a.called_off then jsonb_build_array(gaia.error_of(a.subsystem, a.key, 'cancelled', 0, null))
            else '[]' end
    from arrived a, me
    order by a.subsystem, a.key
    on conflict (subsystem, key) do update
    set state = gaia.claimed_state(j, excluded.state, $1, $2),
        attempts_max = case when j.attempts_max = 0 then excluded.attempts_max else j.attempts_max end,
        -- A claim of this very epoch whose answer was lost has not been run, and one whose worker was lost is charged to
        -- the worker: neither costs an attempt. How often workers may be lost over it is counted by itself.
        attempt = j.attempt + case when j.state = 'running' or excluded.state = 'cancelled' then 0 else 1 end,
        token = j.token + 1,
        worker = $1,
        epoch = $2,
        claimed_at = now(),
        due_at = coalesce(j.due_at, case when j.claimed_at is null then j.not_before end),
        not_before = null,
        repeatable = excluded.repeatable,
        alone = false,
        crashes = j.crashes
            + case when j.state = 'running' and not (j.worker = $1 and j.epoch = $2) then 1 else 0 end,
        finished_at = case when gaia.claimed_state(j, excluded.state, $1, $2) <> 'running' then now() end,
        errors = case
            when gaia.claimed_state(j, excluded.state, $1, $2) <> 'running' or
                j.state = 'running' and not (j.worker = $1 and j.epoch = $2)
            then gaia.with_error(j.errors, gaia.error_of(
                j.subsystem, j.key, gaia.claimed_state(j, excluded.state, $1, $2), j.attempt, j.worker))
            else j.errors end
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
        (extract(epoch from j.deadline_at - now()) * 1000)::int8 as deadline_ms, j.state,
        (extract(epoch from now() - coalesce(j.replayed_at, j.due_at, j.created_at)) * 1000)::int8 as age_ms, j.crashes, j.finished_at,
        case when j.state <> 'running' then ((j.errors -> -1) - 'at')::text end as error,
        j.reply_to, j.correlation_id,
        -- Set on a row that was updated: so this tells those that were there.
        j.xmax = 0 as is_new
), known as materialized (
    select subsystem, key, reply_to, correlation_id from taken where not is_new
), noted as (
    -- A repeat has claimed the job. If this attempt is postponed the repeat's delivery is acknowledged all the same, and the
    -- delivery that is owed to the first may be struck out when this attempt ends: so both are written down as waiting.
    insert into gaia.waiter (subsystem, key, reply_to, correlation_id)
    select t.subsystem, t.key, w.reply_to, coalesce(w.correlation_id, t.key)
    from known t
    join arrived a on a.subsystem = t.subsystem and a.key = t.key
    cross join lateral (values (a.reply_to, a.correlation_id), (t.reply_to, t.correlation_id))
        as w (reply_to, correlation_id)
    where (a.reply_to, coalesce(a.correlation_id, a.key))
        is distinct from (t.reply_to, coalesce(t.correlation_id, t.key))
      and w.reply_to is not null
    on conflict do nothing
)
select subsystem, key, attempt, attempts_max, token, deadline_ms, state, age_ms, crashes, finished_at, error from taken
