-- The workers that hold a lease or held one in the last hour.
select id, name, host, process_id, version, state, subsystems, slots, busy, epoch,
    (extract(epoch from lease_until - now()) * 1000)::int8 as lease_ms, started_at, gone_at
from gaia.worker
where state <> 'gone' or gone_at > now() - interval '1 hour'
order by state = 'gone', id
limit 200
