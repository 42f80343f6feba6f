-- Held by the worker's own session for as long as the process lives. The server frees it the moment the process dies,
-- which is how a death is noticed without waiting for the lease to run out.
-- $1 lock class, $2 worker
select pg_try_advisory_lock($1::int4, $2::int4) as held
