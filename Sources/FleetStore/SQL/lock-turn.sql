-- Whether a number drawn has its turn. $1 name, $2 number
select gaia.lock_turn($1, $2) as held
