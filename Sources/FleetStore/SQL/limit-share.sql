-- Places, for what runs and waits in one worker.
-- $1 worker, $2 epoch, $3 turn; one array per column: $4 name, $5 the rule it goes by, $6 used, $7 wanted
select name, answer, places from gaia.limit_share($1, $2, $3, $4, $5, $6, $7)
