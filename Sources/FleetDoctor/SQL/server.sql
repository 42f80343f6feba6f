-- The server, this database and this session at one moment.
select current_setting('server_version_num')::int8 as version, pg_is_in_recovery() as standby,
    pg_encoding_to_char(d.encoding)::text as encoding, current_setting('fsync') = 'on' as fsync,
    current_setting('full_page_writes') = 'on' as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit, current_setting('autovacuum') = 'on' as autovacuum,
    (select sum(numbackends) from pg_stat_database)::int8 as used,
    current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8 as usable,
    (select numbackends from pg_stat_database s where s.datid = d.oid)::int8 as own_used, d.datconnlimit::int8 as own_limit,
    (
        select max(extract(epoch from clock_timestamp() - a.xact_start)) from pg_stat_activity a
        where a.datid = d.oid and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
    )::float8 as oldest_s,
    pg_has_role('pg_read_all_stats', 'usage') as sees_transactions,
    coalesce(not inet '127.0.0.0/8' >>= inet_client_addr() and inet_client_addr() <> inet '::1', false) as remote,
    coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false) as encrypted,
    clock_timestamp() as clock
from pg_database d
where d.datname = current_database()
