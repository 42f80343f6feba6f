-- $1 scope, $2 reason
with paused as (
    insert into gaia.pause (scope, reason) values ($1, $2)
    on conflict (scope) do nothing
    returning scope
)
select (select count(*) from paused) as paused, pg_notify('gaia_control', '')::text as told
