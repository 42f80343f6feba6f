-- How many jobs of one subsystem are in which state. $1 subsystem
select state, count(*) as jobs, coalesce(sum(greatest(attempt - 1, 0)), 0)::int8 as retries
from gaia.job where subsystem = $1 group by state
