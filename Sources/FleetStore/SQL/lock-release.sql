-- Gives a lock, or a place in line, back. $1 name, $2 token
select gaia.lock_release($1, $2) as released
