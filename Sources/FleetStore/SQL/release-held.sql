-- Jobs that were held and whose type, subsystem and fleet rest no more are due.
-- $1 term, $2 at most
with released as (
    update gaia.agenda a
    set due_at = now(), reason = 'scheduled'
    where (a.subsystem, a.key) in (
        select h.subsystem, h.key
        from gaia.agenda h
        join gaia.job j on j.subsystem = h.subsystem and j.key = h.key
        where h.reason = 'held'
          and not exists (select from gaia.pause p where p.scope in ('*', j.subsystem, j.type))
        limit $2)
      and exists (select from gaia.leader where term = $1)
    returning a.subsystem, a.key
)
update gaia.job j
set not_before = now()
from released r
where j.subsystem = r.subsystem and j.key = r.key and j.state in ('scheduled', 'retrying')
returning 1
