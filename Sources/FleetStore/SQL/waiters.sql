-- Whom else to answer. Asked after the completion in the same transaction, with a snapshot of its own, so that nobody
-- who was parked before it is missed.
-- $1 subsystems, $2 keys
select w.subsystem, w.key, w.reply_to, w.correlation_id
from gaia.waiter w
join unnest($1::text[], $2::text[]) as f (subsystem, key) on w.subsystem = f.subsystem and w.key = f.key
