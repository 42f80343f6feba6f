-- The claim is about to run with nothing beside it: if its worker is lost now, the job did it.
-- $1 subsystem, $2 key, $3 token
update gaia.job set alone = true
where subsystem = $1 and key = $2 and token = $3 and state = 'running'
returning key
