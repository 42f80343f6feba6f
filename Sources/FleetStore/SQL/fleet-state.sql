-- How the fleet stands, for its metrics: a look at indexes and short tables.
select
    (select count(*) from gaia.agenda)::int8 as agenda,
    (select count(*) from gaia.agenda where due_at <= now())::int8 as overdue,
    coalesce((select extract(epoch from now() - min(due_at)) from gaia.agenda where due_at <= now()), 0)::float8 as overdue_seconds,
    (select count(*) from gaia.agenda where reason = 'held')::int8 as held,
    (select count(*) from gaia.dead)::int8 as dead,
    (select count(*) from gaia.worker where state <> 'gone')::int8 as workers,
    (select count(*) from gaia.worker where state <> 'gone' and lease_until < now())::int8 as workers_late,
    (select count(*) from gaia.cron where not paused)::int8 as schedules,
    coalesce((select extract(epoch from now() - min(next_at)) from gaia.cron where not paused and next_at <= now()), 0)::float8
        as schedule_late_seconds,
    (select count(*) from pg_stat_activity where datname = current_database())::int8 as sessions,
    current_setting('max_connections')::int8 as sessions_max,
    -- Of others' sessions only what this role may see.
    coalesce((select extract(epoch from now() - min(xact_start)) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()), 0)::float8 as transaction_seconds,
    age((select datfrozenxid from pg_database where datname = current_database()))::int8 as transaction_ids,
    pg_total_relation_size('gaia.job')::int8 as ledger_bytes
