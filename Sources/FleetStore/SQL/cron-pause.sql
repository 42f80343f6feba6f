-- $1 name, $2 whether it rests
update gaia.cron set paused = $2 where name = $1 returning name
