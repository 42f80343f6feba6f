-- How many jobs are in which state, by subsystem.
select subsystem, state, count(*) as jobs from gaia.job group by subsystem, state order by subsystem, state
