-- Asks for locks, many in one call; what is not free is waited for in line. A question asked twice has one answer.
-- $1 worker, $2 epoch, $3 names, $4 requests, $5 holders, $6 waits in ms (0: take it now or not at all)
select request, answer, token from gaia.lock_enter($1, $2, $3, $4, $5, $6)
