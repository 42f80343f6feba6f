-- Which session holds the leader's lock, and when its term was last renewed. $1 lock class
select k.pid, l.term, l.renewed_at::text as renewed_at
from pg_locks k
left join gaia.leader l on true
where k.locktype = 'advisory' and k.granted and k.objsubid = 2
  and k.database = (select oid from pg_database where datname = current_database())
  and k.classid::bigint = $1::bigint and k.objid = 1
