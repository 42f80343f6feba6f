-- Ends the session of a leader that has not renewed its term, if it still holds the lock. Another takes it then.
-- $1 lock class, $2 session, $3 term
select pg_terminate_backend(k.pid) as ended
from pg_locks k
where k.locktype = 'advisory' and k.granted and k.objsubid = 2
  and k.database = (select oid from pg_database where datname = current_database())
  and k.classid::bigint = $1::bigint and k.objid = 1 and k.pid = $2
  and not exists (select from gaia.leader where term > $3)
