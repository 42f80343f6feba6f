-- Units of rates, for what waits in one worker.
-- $1 worker, $2 epoch; one array per column: $3 name, $4 the rule it goes by, $5 units that the first in line lacks,
-- $6 how long it waits in ms, $7 further units that are welcome, $8 units given back
select name, answer, units, ahead_ms, rate, pause_ms from gaia.limit_take($1, $2, $3, $4, $5, $6, $7, $8)
