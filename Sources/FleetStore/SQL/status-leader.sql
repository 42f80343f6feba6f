-- Who leads, and whether it holds the lock at this moment. $1 lock class
select l.term, l.name, l.since,
    exists (
        select from pg_locks k
        where k.locktype = 'advisory' and k.granted and k.objsubid = 2
          and k.database = (select oid from pg_database where datname = current_database())
          and k.classid::bigint = $1::bigint and k.objid = 1) as leads,
    (select count(*) from gaia.agenda) as agenda,
    (select count(*) from gaia.agenda where due_at <= now()) as overdue
from gaia.leader l
