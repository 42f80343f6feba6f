-- Where jobs are. $1 subsystems, $2 keys
select j.subsystem, j.key, j.state
from unnest($1::text[], $2::text[]) as u (subsystem, key)
join gaia.job j on j.subsystem = u.subsystem and j.key = u.key
