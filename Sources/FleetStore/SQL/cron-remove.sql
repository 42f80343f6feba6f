-- $1 name
delete from gaia.cron where name = $1 returning name
