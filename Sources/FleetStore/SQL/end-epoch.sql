-- The leader ends the epoch of a worker that is gone, unless it has come back meanwhile.
-- $1 worker, $2 epoch, $3 lock class, $4 term
update gaia.worker w
set epoch = w.epoch + 1, state = 'gone', gone_at = now(), busy = 0
where w.id = $1 and w.epoch = $2
  and exists (select from gaia.leader where term = $4)
  and (w.lease_until <= now()
    or not exists (
        select from pg_locks l
        where l.locktype = 'advisory' and l.granted and l.objsubid = 2
          and l.database = (select oid from pg_database where datname = current_database())
          and l.classid::bigint = $3::bigint and l.objid::bigint = w.id))
returning w.id
