-- One tick: its job, unless it was missed and shall be, and the time of the next, both or neither. Only the first who
-- comes finds the tick that it names.
-- The next time is meant by the zone's clock. When that clock is set back a time comes twice: it is the first of the
-- two, and a schedule for each hour goes on by the time that really passes.
-- $1 term, $2 name, $3 tick, $4 whether it makes a job, $5 next by the zone's clock, $6 whether it is for each hour
with tick as (
    update gaia.cron c
    set last_at = case when $4 then c.next_at else c.last_at end,
        next_at = case
            when $6 or ((c.next_at + ($5::timestamp - (c.next_at at time zone c.zone))) at time zone c.zone) = $5::timestamp
            then c.next_at + ($5::timestamp - (c.next_at at time zone c.zone))
            else $5::timestamp at time zone c.zone
        end
    where c.name = $2 and c.next_at = $3 and not c.paused
      and exists (select from gaia.leader where term = $1)
    returning c.*
), made as (
    insert into gaia.job (
        subsystem, key, type, state, attempts_max, payload, payload_hash, reply_to, subject, producer, not_before)
    select split_part(type, '.', 1), 'cron/' || name || '/' || to_char($3 at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'),
        type, 'scheduled', attempts_max, payload, sha256(convert_to(payload, 'UTF8')), reply_to, subject,
        'cron ' || name, now()
    from tick
    where $4
    on conflict (subsystem, key) do nothing
    returning subsystem, key
), owed as (
    insert into gaia.agenda (subsystem, key, due_at, reason)
    select subsystem, key, now(), 'scheduled' from made
    on conflict do nothing
)
select (select count(*) from made) as made, (select count(*) from tick) as ticked
