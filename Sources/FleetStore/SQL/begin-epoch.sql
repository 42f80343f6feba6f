-- A worker whose epoch was ended begins a new life under its old name.
-- $1 worker, $2 lease in ms
update gaia.worker
set epoch = epoch + 1, state = 'live', gone_at = null, lease_until = now() + $2 * interval '1 millisecond',
    renewed_at = now(), busy = 0
where id = $1
returning epoch
