-- How large the job table is, and how many rows it holds.
select pg_table_size('gaia.job') as table_bytes, pg_indexes_size('gaia.job') as index_bytes,
    (select count(*) from gaia.job) as jobs
