-- Workers that should be alive but hold no liveness lock, or have let their lease run out.
-- $1 lock class
select w.id, w.epoch, w.name, w.lease_until <= now() as expired
from gaia.worker w
where w.state <> 'gone'
  and (w.lease_until <= now()
    or not exists (
        select from pg_locks l
        where l.locktype = 'advisory' and l.granted and l.objsubid = 2
          and l.database = (select oid from pg_database where datname = current_database())
          and l.classid::bigint = $1::bigint and l.objid::bigint = w.id))
order by w.id
