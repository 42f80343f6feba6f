-- All that a worker must know of limits: what is set, and what is closed and for how long.
-- $1 the most of each
(select r.name, r.rate, r.burst, r.places, null::float8 as closed_ms from gaia.limit_rule r order by r.name limit $1)
union all
(select c.name, null, null, null, (extract(epoch from c.until - clock_timestamp()) * 1000)::float8
from gaia.limit_closed c where c.until > clock_timestamp() order by c.until desc limit $1)
