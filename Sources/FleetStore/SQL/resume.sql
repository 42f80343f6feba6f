-- $1 scope
with resumed as (
    delete from gaia.pause where scope = $1
    returning scope
)
select (select count(*) from resumed) as resumed, pg_notify('gaia_control', '')::text as told,
    pg_notify('gaia_agenda', '')::text as told_too
