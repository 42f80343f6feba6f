-- Which of the jobs that run here have been called off. Those asked for within the last minutes are enough: a job that
-- is claimed later is called off by its claim.
-- $1 worker, $2 epoch
select j.subsystem, j.key, c.reason
from gaia.cancellation c
join gaia.job j on j.subsystem = c.subsystem and j.key = c.key
where c.requested_at > now() - interval '10 minutes'
  and j.state = 'running' and j.worker = $1 and j.epoch = $2
limit 10000
