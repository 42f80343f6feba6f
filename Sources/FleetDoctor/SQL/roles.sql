-- The roles of workers, dispatchers and monitors: what each may beyond its part, and what it lacks. Who they are is seen by
-- the locks that their sessions hold, or by the name's ending.
-- $1 lock class of workers' lives, $2 lock class of leadership
with known as (
    select a.usesysid as role,
        case when l.classid::bigint = $1::bigint then 'worker' else 'dispatcher' end as part
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 2
      and l.database = (select oid from pg_database where datname = current_database())
      and l.classid::bigint in ($1::bigint, $2::bigint)
    union
    select r.oid, substring(r.rolname from '_(worker|dispatcher|monitor)$')
    from pg_roles r
    where r.rolname ~ '_(worker|dispatcher|monitor)$' and not r.rolsuper and has_schema_privilege(r.oid, 'gaia', 'usage')
), tables as (
    select c.oid, c.relname, c.relowner from pg_class c
    where c.relnamespace = 'gaia'::regnamespace and c.relkind in ('r', 'p')
)
select r.rolname::text as name, k.part,
    case when r.rolsuper then array['is a superuser'] else array_remove(array[
        case when r.rolcreaterole then 'may create roles' end,
        case when r.rolcreatedb then 'may create databases' end,
        case when r.rolbypassrls then 'may bypass row security' end,
        case when has_database_privilege(r.oid, current_database(), 'create') then 'may create schemas' end,
        case when has_schema_privilege(r.oid, 'gaia', 'create') then 'may create tables in the schema gaia' end,
        case when exists (select from tables t where pg_has_role(r.oid, t.relowner, 'usage')) then 'owns tables of the fleet' end,
        case when k.part = 'monitor' and exists (
            select from tables t where has_table_privilege(r.oid, t.oid, 'insert, update, delete, truncate'))
            then 'may write to the ledger' end
    ], null) end as wide,
    array(
        select format('%s on %s', privilege, t.oid::regclass)
        from tables t
        cross join unnest(
            case when k.part = 'monitor' or t.relname = 'migration' then array['select']
                else array['select', 'insert', 'update', 'delete'] end) as privilege
        where not has_table_privilege(r.oid, t.oid, privilege)
        union all
        select format('usage on %s', c.oid::regclass) from pg_class c
        where c.relnamespace = 'gaia'::regnamespace and k.part <> 'monitor'
          -- Asked of what is no sequence it is an error, and only a case has an order in which it is evaluated.
          and case when c.relkind = 'S' then not has_sequence_privilege(r.oid, c.oid, 'usage') else false end
        union all
        select format('execute on %s', p.oid::regprocedure) from pg_proc p
        where p.pronamespace = 'gaia'::regnamespace and p.prorettype <> 'trigger'::regtype and k.part <> 'monitor'
          and not has_function_privilege(r.oid, p.oid, 'execute')
        order by 1
    ) as missing,
    exists (
        select from pg_db_role_setting s
        where s.setrole = r.oid and 'synchronous_commit=off' = any (s.setconfig)
          and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
    ) as commits_loosely
from known k
join pg_roles r on r.oid = k.role
order by name, part
