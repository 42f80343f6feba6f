-- What the agenda owes by now, oldest first. First the agenda by its index, then the jobs by their keys: in one join the
-- planner, which made its plan when both tables were small, would read all that is owed for each batch.
-- $1 at most
with owed as materialized (
    select subsystem, key, due_at, reason
    from gaia.agenda
    where due_at <= now()
    order by due_at
    limit $1
)
select a.subsystem, a.key, a.due_at, a.reason, j.type, j.payload, j.reply_to, j.correlation_id, j.subject,
    j.traceparent, j.producer, j.backoff, j.urgent,
    j.payload_hash is null as unsealed
from owed a
cross join lateral (
    select * from gaia.job where subsystem = a.subsystem and key = a.key offset 0
) j
order by a.due_at
