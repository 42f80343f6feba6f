-- Gets in line with a lease of its own. $1 name, $2 holder, $3 lease in ms, $4 wait in ms
select gaia.lock_queue($1, $2, $3 * interval '1 millisecond', $4 * interval '1 millisecond') as number
