-- Removes finished jobs of a stretch of the table that are older than they are kept. No index leads to them: one on the
-- time of the end would be written with every job, and this hand goes round the table by itself, a stretch at a time.
-- $1 first page, $2 page after the last, $3 hours for jobs that succeeded or were called off, $4 hours for discarded ones,
-- $5 term
with gone as (
    delete from gaia.job j
    where j.ctid >= format('(%s,0)', $1::int8)::tid and j.ctid < format('(%s,0)', $2::int8)::tid
      and (j.state in ('succeeded', 'cancelled') and j.finished_at < now() - $3::int4 * interval '1 hour'
        or j.state = 'discarded' and j.finished_at < now() - $4::int4 * interval '1 hour')
      and exists (select from gaia.leader where term = $5)
      and not exists (select from gaia.agenda a where a.subsystem = j.subsystem and a.key = j.key)
    returning j.subsystem, j.key
), called_off as (
    -- A wish to call the job off goes with it: the next job of this key is another.
    delete from gaia.cancellation c using gone
    where c.subsystem = gone.subsystem and c.key = gone.key
), given_up as (
    delete from gaia.dead d using gone
    where d.subsystem = gone.subsystem and d.key = gone.key
)
select (select count(*) from gone) as removed,
    pg_relation_size('gaia.job') / current_setting('block_size')::int8 as pages
