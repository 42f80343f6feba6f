-- Tried by every dispatcher; held by one for as long as its session lives.
-- $1 lock class
select pg_try_advisory_lock($1::int4, 1) as held
