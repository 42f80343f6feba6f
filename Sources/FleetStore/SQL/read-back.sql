-- After a commit whose answer was lost: did our completion take effect? Only the owner of a token can have ended it.
-- $1 subsystems, $2 keys, $3 tokens
select j.subsystem, j.key, j.state, j.attempt, j.finished_at
from gaia.job j
join unnest($1::text[], $2::text[], $3::int8[]) as o (subsystem, key, token)
  on j.subsystem = o.subsystem and j.key = o.key and j.token = o.token
where j.state <> 'running'
