-- A drained worker gives its lease back: whatever it should still own may be taken at once.
-- $1 worker, $2 epoch
with released as (
    update gaia.worker
    set epoch = epoch + 1, state = 'gone', gone_at = now(), lease_until = now(), busy = 0
    where id = $1 and epoch = $2
    returning id
)
update gaia.agenda a
set due_at = now()
from released r
where a.worker = r.id and a.epoch <= $2 and a.reason = 'recheck'
