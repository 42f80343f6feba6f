-- Parked deliveries are due when the claim that they wait for has ended with its epoch. They are looked for by themselves,
-- and in each round: a statement that was under way while the epoch ended may have parked one since, unseen. The index of
-- those with a worker leads to them; the sum keeps the planner from the one by time, which leads to all jobs for later.
-- $1 term
update gaia.agenda a
set due_at = now()
where a.worker is not null and a.reason = 'recheck' and a.due_at + interval '0' > now()
  and exists (select from gaia.leader where term = $1)
  and not exists (
    select from gaia.worker w
    where w.id = a.worker and w.epoch = a.epoch and w.state <> 'gone' and w.lease_until > now())
returning 1
