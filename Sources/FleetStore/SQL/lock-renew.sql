-- Another lease from now. $1 name, $2 token, $3 lease in ms
select gaia.lock_renew($1, $2, $3 * interval '1 millisecond') as held
