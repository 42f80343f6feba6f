-- Which of the jobs that run here have been called off. Those asked for within the last minutes are enough: a job that
-- is claimed later is called off by its claim. First the orders, which are few, then their jobs by key: in one join the
-- planner, which made its plan when all tables were small, would read every job.
-- $1 worker, $2 epoch
with orders as materialized (
    select subsystem, key, reason
    from gaia.cancellation
    where requested_at > now() - interval '10 minutes'
)
select j.subsystem, j.key, c.reason
from orders c
cross join lateral (
    select * from gaia.job where subsystem = c.subsystem and key = c.key offset 0
) j
where j.state = 'running' and j.worker = $1 and j.epoch = $2
