-- A schedule, new or changed. Its first tick is given by its zone's clock.
-- $1 name, $2 expression, $3 zone, $4 type, $5 payload, $6 catch up, $7 first tick by the zone's clock, $8 reply-to,
-- $9 subject, $10 attempts at most
insert into gaia.cron (name, expression, zone, type, payload, catch_up, next_at, reply_to, subject, attempts_max)
values ($1, $2, $3, $4, $5, $6, $7::timestamp at time zone $3, $8, $9, $10)
on conflict (name) do update
set expression = excluded.expression, zone = excluded.zone, type = excluded.type, payload = excluded.payload,
    catch_up = excluded.catch_up, next_at = excluded.next_at, reply_to = excluded.reply_to, subject = excluded.subject,
    attempts_max = excluded.attempts_max, paused = false
returning next_at
