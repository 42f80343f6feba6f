-- When jobs have succeeded, by the beginning of their keys, in seconds, in order. $1 prefix
select extract(epoch from finished_at)::float8 from gaia.job where state = 'succeeded' and starts_with(key, $1) order by 1
