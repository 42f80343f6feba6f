-- A drained worker gives its lease back: whatever it should still own may be taken at once.
-- $1 worker, $2 epoch
update gaia.worker
set epoch = epoch + 1, state = 'gone', gone_at = now(), lease_until = now(), busy = 0
where id = $1 and epoch = $2
