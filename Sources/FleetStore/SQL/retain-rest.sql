-- Removes what goes with jobs and processes that are long over.
-- $1 hours, $2 term
with now_leading as (
    select from gaia.leader where term = $2
), workers as (
    delete from gaia.worker w
    where w.state = 'gone' and w.gone_at < now() - $1::int4 * interval '1 hour' and exists (select from now_leading)
    returning 1
), waiters as (
    delete from gaia.waiter w
    where w.created_at < now() - $1::int4 * interval '1 hour' and exists (select from now_leading)
      and not exists (select from gaia.job j where j.subsystem = w.subsystem and j.key = w.key)
    returning 1
), cancellations as (
    delete from gaia.cancellation c
    where c.requested_at < now() - $1::int4 * interval '1 hour' and exists (select from now_leading)
    returning 1
), buckets as (
    -- Full by now, which is the same as none, and not used for a minute.
    delete from gaia.limit_bucket b
    where b.at < now() - interval '1 minute' and exists (select from now_leading)
      and not exists (
        select from gaia.limit_rule r
        where r.name = b.rule and b.ahead - extract(epoch from now() - b.at) > -r.burst / r.rate)
    returning 1
), closings as (
    delete from gaia.limit_closed c where c.until < now() and exists (select from now_leading)
    returning 1
)
select (select count(*) from workers) + (select count(*) from waiters) + (select count(*) from cancellations)
    + (select count(*) from buckets) + (select count(*) from closings) as removed
