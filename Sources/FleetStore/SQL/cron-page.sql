-- $1 the name before the first, $2 how many
select name, expression, zone, type, payload, catch_up, paused, next_at, last_at
from gaia.cron
where name > $1
order by name
limit $2
