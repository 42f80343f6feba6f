-- Holds the lease for another while. No row: the epoch has ended or the lease ran out, and what was claimed under it
-- may have been taken by others.
-- $1 worker, $2 epoch, $3 lease in ms, $4 busy slots, $5 state, $6 load by subsystem
update gaia.worker
set lease_until = now() + $3 * interval '1 millisecond', renewed_at = now(), busy = $4, state = $5, load = $6::jsonb
where id = $1 and epoch = $2 and state <> 'gone' and lease_until > now()
returning epoch
