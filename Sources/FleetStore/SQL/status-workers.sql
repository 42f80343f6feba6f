-- The workers that hold a lease or held one in the last hour.
select id, name, host, process_id, version, state, subsystems, worker.slots, worker.busy, epoch,
    (extract(epoch from lease_until - now()) * 1000)::int8 as lease_ms, started_at, gone_at,
    l.names as load_names, l.busy as load_busy, l.slots as load_slots, l.waiting as load_waiting,
    -- A JSON array for each.
    l.notices as load_notices
from gaia.worker
cross join lateral (
    select coalesce(array_agg(key order by key), '{}') as names,
        coalesce(array_agg((value ->> 'busy')::int4 order by key), '{}') as busy,
        coalesce(array_agg((value ->> 'slots')::int4 order by key), '{}') as slots,
        coalesce(array_agg((value ->> 'waiting')::int4 order by key), '{}') as waiting,
        coalesce(array_agg(coalesce(value -> 'notices', '[]')::text order by key), '{}') as notices
    from jsonb_each(load)
) l
where state <> 'gone' or gone_at > now() - interval '1 hour'
order by state = 'gone', id
limit 200
