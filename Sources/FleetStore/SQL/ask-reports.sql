-- Asks all workers to renew their leases now, which tells what they have done.
-- $1 channel
select pg_notify($1, '')
