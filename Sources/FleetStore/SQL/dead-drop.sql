-- Forgets that jobs were given up; the jobs themselves stay until they age out.
-- $1 fingerprint or null, $2 subsystem or null, $3 key or null
delete from gaia.dead d
where ($1::text is null or d.fingerprint = $1) and ($2::text is null or d.subsystem = $2)
  and ($3::text is null or d.key = $3)
returning 1
