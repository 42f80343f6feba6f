-- The clock of a time zone. No row when there is none of this name.
-- $1 zone
select to_char(now() at time zone z.name, 'YYYY-MM-DD HH24:MI') as local_now
from pg_timezone_names z
where z.name = $1
limit 1
