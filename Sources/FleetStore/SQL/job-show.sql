-- One job, whole, for a person. $1 subsystem or null for any, $2 key
select j.subsystem, j.key, j.type, j.state, j.attempt, j.attempts_max, j.token, j.worker, w.name as worker_name,
    j.payload, j.reply_to, j.correlation_id, j.subject, j.producer, j.created_at, j.not_before, j.deadline_at,
    j.claimed_at, j.finished_at, j.output, j.errors::text as errors,
    j.progress::text as progress, j.crashes, j.backoff, j.urgent
from gaia.job j
left join gaia.worker w on w.id = j.worker
where ($1::text is null or j.subsystem = $1) and j.key = $2
order by j.subsystem
limit 20
