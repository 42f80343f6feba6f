-- How the fleet stands, for somebody who looks every second: no count goes beyond $2 rows, however many there are.
-- $1 lock class, $2 the most to count
select
    l.term, l.name, extract(epoch from now() - l.since)::float8 as since_seconds,
    exists (
        select from pg_locks k
        where k.locktype = 'advisory' and k.granted and k.objsubid = 2
          and k.database = (select oid from pg_database where datname = current_database())
          and k.classid::bigint = $1::bigint and k.objid = 1) as leads,
    (select count(*) from (select from gaia.agenda limit $2) a)::int8 as agenda,
    (select count(*) from (select from gaia.agenda where due_at <= now() limit $2) a)::int8 as overdue,
    coalesce((select extract(epoch from now() - min(due_at)) from gaia.agenda where due_at <= now()), 0)::float8 as overdue_seconds,
    (select count(*) from (select from gaia.agenda where reason = 'held' limit $2) a)::int8 as held,
    (select count(*) from (select from gaia.dead limit $2) d)::int8 as dead,
    (select count(*) from gaia.worker where state <> 'gone')::int8 as workers,
    (select count(*) from pg_stat_activity where datname = current_database())::int8 as sessions,
    current_setting('max_connections')::int8 as sessions_max
from (select) one left join gaia.leader l on true
