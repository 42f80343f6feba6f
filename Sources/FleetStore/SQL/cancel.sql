-- $1 subsystem, $2 key, $3 reason
select gaia.cancel($1, $2, $3) as answer
