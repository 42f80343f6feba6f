-- The waiters have their result, confirmed by the broker: nobody needs to be reminded of these jobs any more.
-- $1 subsystems, $2 keys, $3 reply-to, $4 correlation ids
with answered as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as a (subsystem, key, reply_to, correlation_id)
), gone as (
    delete from gaia.waiter w using answered a
    where w.subsystem = a.subsystem and w.key = a.key and w.reply_to = a.reply_to
      and w.correlation_id = a.correlation_id
)
delete from gaia.agenda g using answered a
where g.subsystem = a.subsystem and g.key = a.key and g.reason = 'recheck'
