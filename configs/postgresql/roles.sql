-- The roles of a fleet, each with no more rights than its part needs, and the schema that they share.
--
-- Run it as a superuser in the fleet's database, before the first 'gaia migrate' and whenever you like afterwards:
--
--     psql --dbname gaia --file configs/postgresql/roles.sql
--     psql --dbname gaia --command '\password gaia_owner'      the same for each role that shall log in
--
-- The roles have no passwords, so that none can log in with one before it was given. For other names than gaia_…:
-- psql --set prefix=school ….
--
--     gaia_owner       owns the schema: 'gaia migrate' and nothing else
--     gaia_worker      reads and writes the ledger                       both by gaia_runtime
--     gaia_dispatcher  the same
--     gaia_operator    the same: gaia job, dead, pause, cron, limit, lock
--     gaia_monitor     reads the ledger and the server's statistics: gaia status, doctor, job show, job explain, dashboards
--
-- Rights hang on the two groups gaia_runtime and gaia_reader. What a later release adds to the schema gets them by default
-- privileges, as it is made by gaia_owner: nothing has to be run again after an upgrade.

\set ON_ERROR_STOP on
\if :{?prefix}
\else
    \set prefix gaia
\endif
\set owner :prefix _owner
\set runtime :prefix _runtime
\set reader :prefix _reader
\set worker :prefix _worker
\set dispatcher :prefix _dispatcher
\set operator :prefix _operator
\set monitor :prefix _monitor

begin;

select format('create role %I %s', name, can)
from (values
    (:'owner', 'login'), (:'runtime', 'nologin'), (:'reader', 'nologin'), (:'worker', 'login'), (:'dispatcher', 'login'),
    (:'operator', 'login'), (:'monitor', 'login')) as wanted (name, can)
where not exists (select from pg_roles where rolname = name)
\gexec

grant :"runtime" to :"worker", :"dispatcher", :"operator";
grant :"reader", pg_monitor to :"monitor";
-- It may write to no table. This keeps it from the functions for locks besides, which the schema lets every role call that
-- has usage on it; a monitor that means harm could take it back.
alter role :"monitor" set default_transaction_read_only = on;

-- 'gaia migrate' says "create schema if not exists", which PostgreSQL allows nobody without this right, even if it is there.
grant create on database :"DBNAME" to :"owner";
create schema if not exists gaia authorization :"owner";

-- A fleet that was migrated by somebody else is handed over. Sequences of identity columns go with their tables.
alter schema gaia owner to :"owner";
select format('alter table %s owner to %I', c.oid::regclass, :'owner')
from pg_class c
where c.relnamespace = 'gaia'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
  and c.relowner <> (select oid from pg_roles where rolname = :'owner')
\gexec
select format('alter sequence %s owner to %I', c.oid::regclass, :'owner')
from pg_class c
where c.relnamespace = 'gaia'::regnamespace and c.relkind = 'S'
  and c.relowner <> (select oid from pg_roles where rolname = :'owner')
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i'))
\gexec
select format('alter routine %s owner to %I', p.oid::regprocedure, :'owner')
from pg_proc p
where p.pronamespace = 'gaia'::regnamespace and p.proowner <> (select oid from pg_roles where rolname = :'owner')
\gexec

-- Workers and dispatchers find, claim and complete jobs in the same tables, by the same functions, so they have the same
-- rights; and none to change, add or drop a table. Who may read the ledger sees payloads and results.
grant usage on schema gaia to :"runtime", :"reader";
grant select, insert, update, delete on all tables in schema gaia to :"runtime";
grant usage, select on all sequences in schema gaia to :"runtime";
grant execute on all functions in schema gaia to :"runtime";
grant select on all tables in schema gaia to :"reader";
grant select on all sequences in schema gaia to :"reader";

-- The same for all that the owner makes from now on.
alter default privileges for role :"owner" in schema gaia
    grant select, insert, update, delete on tables to :"runtime";
alter default privileges for role :"owner" in schema gaia grant usage, select on sequences to :"runtime";
alter default privileges for role :"owner" in schema gaia grant execute on functions to :"runtime";
alter default privileges for role :"owner" in schema gaia grant select on tables to :"reader";
alter default privileges for role :"owner" in schema gaia grant select on sequences to :"reader";

commit;
