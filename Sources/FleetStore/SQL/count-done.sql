-- Jobs that have succeeded, by the beginning of their keys. $1 prefix
select count(*) from gaia.job where state = 'succeeded' and starts_with(key, $1)
