-- An operator takes a lock away. $1 name, $2 token, or null for whatever is held
select f.token, f.holder, w.name as worker, f.acquired_at, f.heir_token, f.heir_holder
from gaia.lock_force($1, $2) as f
left join gaia.worker w on w.id = f.worker
