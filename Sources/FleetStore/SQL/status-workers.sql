-- The workers that hold a lease, then those that held one in the last hour: $1 at most.
select id, name, host, process_id, version, state, subsystems, slots, busy, epoch,
    (extract(epoch from lease_until - now()) * 1000)::int8 as lease_ms,
    (extract(epoch from lease_until - renewed_at) * 1000)::int8 as lease_whole_ms,
    extract(epoch from started_at)::float8 as started, extract(epoch from renewed_at)::float8 as reported,
    extract(epoch from now())::float8 as now, load::text as load,
    -- One that drains gives its lease back in the moment in which it goes.
    case when state = 'gone' and lease_until <> gone_at then extract(epoch from now() - gone_at)::float8 end as lost_seconds
from gaia.worker
where state <> 'gone' or gone_at > now() - interval '1 hour'
order by state = 'gone', id
limit $1
