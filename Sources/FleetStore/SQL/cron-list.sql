select name, expression, zone, type, payload, catch_up, paused, next_at, last_at from gaia.cron order by name
