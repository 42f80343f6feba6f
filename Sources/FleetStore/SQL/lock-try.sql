-- Takes a lock with a lease of its own. $1 name, $2 holder, $3 lease in ms
select gaia.lock_try($1, $2, $3 * interval '1 millisecond') as token
