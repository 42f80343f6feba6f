-- The broker has confirmed these deliveries. A row whose time has changed meanwhile is owed anew and stays.
-- $1 term; $2 subsystems, $3 keys, $4 due times
with published as (
    select * from unnest($2::text[], $3::text[], $4::timestamptz[]) as p (subsystem, key, due_at)
    where exists (select from gaia.leader where term = $1)
), queued as (
    update gaia.job j
    set state = 'queued', not_before = null,
        due_at = coalesce(j.due_at, case when j.claimed_at is null then j.not_before end)
    from published p
    where j.subsystem = p.subsystem and j.key = p.key and j.state in ('scheduled', 'retrying') and j.not_before <= now()
), done as (
    delete from gaia.agenda a using published p
    where a.subsystem = p.subsystem and a.key = p.key and a.due_at = p.due_at
    returning 1
)
select count(*) as done from done
