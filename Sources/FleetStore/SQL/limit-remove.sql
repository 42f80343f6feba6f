-- $1 name
select gaia.limit_remove($1) as removed
