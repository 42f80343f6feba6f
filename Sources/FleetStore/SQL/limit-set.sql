-- $1 name, $2 rate, $3 burst, $4 places
select gaia.limit_set($1, $2, $3, $4)::text
