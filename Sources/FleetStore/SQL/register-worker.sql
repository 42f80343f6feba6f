-- A process begins its first life.
-- $1 name, $2 host, $3 process id, $4 version, $5 subsystems, $6 slots, $7 lease in ms
insert into gaia.worker (name, host, process_id, version, subsystems, slots, lease_until)
values ($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 millisecond')
returning id, epoch
