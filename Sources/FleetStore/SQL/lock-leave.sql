-- Gives back what is held, and places in line; the next in line holds the lock by the same commit.
-- $1 worker, $2 epoch, $3 names, $4 requests
select request, answer, heir, heir_token from gaia.lock_leave($1, $2, $3, $4)
