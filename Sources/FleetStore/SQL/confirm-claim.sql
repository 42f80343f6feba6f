-- Whether an attempt still owns its job: under its token, in an epoch that lives.
-- $1 subsystem, $2 key, $3 token, $4 worker, $5 epoch
select from gaia.job j
where j.subsystem = $1 and j.key = $2 and j.token = $3 and j.state = 'running' and j.worker = $4 and j.epoch = $5
  and gaia.lock_lives(j.worker, j.epoch, null)
