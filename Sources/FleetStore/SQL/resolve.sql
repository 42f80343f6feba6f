-- $1 subsystem, $2 key, $3 decision, $4 output, $5 reason
select gaia.resolve($1, $2, $3, $4, $5) as answer
