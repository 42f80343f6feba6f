-- $1 name
select gaia.limit_open($1) as opened
