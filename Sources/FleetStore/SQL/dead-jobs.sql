-- Jobs of one cause, or one job, oldest first.
-- $1 fingerprint or null, $2 subsystem or null, $3 key or null, $4 given up before or null, $5 at most, $6 members to put
-- in the payload or null
select d.subsystem, d.key, d.type, d.fingerprint, d.kind, d.code, d.message, d.attempt, d.worker, d.at,
    case when $6::text is null then j.payload else (j.payload::jsonb || $6::text::jsonb)::text end as payload
from gaia.dead d
join gaia.job j on j.subsystem = d.subsystem and j.key = d.key
where ($1::text is null or d.fingerprint = $1) and ($2::text is null or d.subsystem = $2)
  and ($3::text is null or d.key = $3) and ($4::timestamptz is null or d.at < $4)
order by d.at, d.subsystem, d.key
limit $5
