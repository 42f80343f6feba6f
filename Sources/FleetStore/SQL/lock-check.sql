-- Guards the transaction that it runs in: an error with SQLSTATE LK001 when the token is stale. $1 name, $2 token
select gaia.lock_check($1, $2)
