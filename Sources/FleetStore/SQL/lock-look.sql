-- How it stands with locks that are waited for. $1 worker, $2 epoch, $3 names, $4 requests
select request, answer, token from gaia.lock_look($1, $2, $3, $4)
