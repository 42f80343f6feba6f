-- Names that are to rest for a while. In one order for all, or two of these could wait for each other.
-- $1 names, $2 for how many ms, $3 why
select count(gaia.limit_close(c.name, c.pause_ms * interval '1 millisecond', $3)::text) as closed
from (select * from unnest($1::text[], $2::int8[]) as c (name, pause_ms) order by 1) c
