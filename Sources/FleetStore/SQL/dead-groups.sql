-- Jobs that were given up, by cause; the cause that struck last comes first.
-- $1 at most
select fingerprint, type, kind, code, count(*) as jobs, min(at) as first_at, max(at) as last_at,
    (array_agg(message order by at desc))[1] as message
from gaia.dead
group by fingerprint, type, kind, code
order by max(at) desc
limit $1
