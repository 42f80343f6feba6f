-- Schedules whose time has come, with the clock of their zone.
-- $1 at most
select name, expression, catch_up, to_char(next_at at time zone zone, 'YYYY-MM-DD HH24:MI') as local_tick,
    to_char(now() at time zone zone, 'YYYY-MM-DD HH24:MI') as local_now, next_at,
    extract(epoch from now() - next_at)::int8 as late_s, type
from gaia.cron
where next_at <= now() and not paused
order by next_at
limit $1
