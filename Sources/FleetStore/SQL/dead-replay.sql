-- $1 subsystems, $2 keys, $3 new payloads or nulls
select r.subsystem, r.key, gaia.replay(r.subsystem, r.key, r.payload) as answer
from (
    select * from unnest($1::text[], $2::text[], $3::text[]) as u (subsystem, key, payload) order by subsystem, key
) r
