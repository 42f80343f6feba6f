-- Somebody waits for a job's end. The job's row is locked while that is written down: either its completion sees the
-- waiter, or this statement sees the completion. No row when the ledger does not know the job.
-- $1 subsystem, $2 key, $3 reply-to, $4 correlation id
with seen as (
    select j.state from gaia.job j where j.subsystem = $1 and j.key = $2 for share of j
), noted as (
    insert into gaia.waiter (subsystem, key, reply_to, correlation_id)
    select $1, $2, $3, $4
    where not exists (
        select from seen where state in ('succeeded', 'discarded', 'cancelled', 'indeterminate'))
    on conflict do nothing
)
select state from seen
