-- What the agenda owes by now, oldest first.
-- $1 at most
select a.subsystem, a.key, a.due_at, a.reason, j.type, j.payload, j.reply_to, j.correlation_id, j.subject,
    j.traceparent, j.producer, j.backoff, j.urgent,
    j.payload_hash is null as unsealed
from gaia.agenda a
join gaia.job j on j.subsystem = a.subsystem and j.key = a.key
where a.due_at <= now()
order by a.due_at
limit $1
