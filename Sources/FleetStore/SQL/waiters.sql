-- Whom else to answer. Asked after the completion in the same transaction, with a snapshot of its own, so that nobody
-- who was parked before it is missed. Where nobody waits but a delivery was parked, its reminder on the agenda is named, to
-- be struck out when the result is out: it stands in for a delivery that may be the only one left.
-- $1 subsystems, $2 keys
with found as (
    select * from unnest($1::text[], $2::text[]) as f (subsystem, key)
)
select w.subsystem, w.key, w.reply_to, w.correlation_id
from gaia.waiter w
join found f on w.subsystem = f.subsystem and w.key = f.key
union all
select g.subsystem, g.key, null, ''
from gaia.agenda g
join found f on g.subsystem = f.subsystem and g.key = f.key
where g.reason = 'recheck'
  and not exists (select from gaia.waiter w where w.subsystem = g.subsystem and w.key = g.key)
