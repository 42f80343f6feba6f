-- Settles attempts, each only while its token still owns the job. A row that does not come back was fenced: its outcome
-- counts for nothing. A retry is put on the agenda in the same breath.
-- One array per column: $1 subsystem, $2 key, $3 token, $4 state, $5 output, $6 error, $7 delay in ms, $8 spends attempt
with outcome as (
    select * from unnest(
        $1::text[], $2::text[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::int8[], $8::bool[]
    ) as o (subsystem, key, token, state, output, error, delay_ms, spends)
), settled as (
    update gaia.job j
    set state = o.state,
        output = o.output,
        errors = case when o.error is null then j.errors
            else gaia.with_error(j.errors, o.error::jsonb || jsonb_build_object('at', now())) end,
        attempt = j.attempt - case when o.spends then 0 else 1 end,
        not_before = case when o.state in ('retrying', 'scheduled') then now() + o.delay_ms * interval '1 millisecond' end,
        finished_at = case when o.state in ('succeeded', 'discarded', 'cancelled', 'indeterminate') then now() end
    from outcome o
    where j.subsystem = o.subsystem and j.key = o.key and j.token = o.token and j.state = 'running'
    returning j.subsystem, j.key, j.state, j.attempt, j.not_before, j.finished_at
), again as (
    insert into gaia.agenda (subsystem, key, due_at, reason)
    select subsystem, key, not_before, 'retry' from settled where state in ('retrying', 'scheduled')
    on conflict (subsystem, key) do update
    set due_at = excluded.due_at, reason = 'retry', worker = null, epoch = null
)
select subsystem, key, attempt, finished_at from settled
