-- For a person: what is set, what is closed without a limit, and of the names that a pattern stands for those in use.
-- $1 the most rows
with place as (
    select p.name, sum(p.held) filter (where gaia.lock_lives(p.worker, p.epoch, null)) as held,
        sum(greatest(0, p.wanted - p.held)) filter (where gaia.lock_lives(p.worker, p.epoch, null)) as short
    from gaia.limit_place p
    group by p.name
), bucket as (
    select b.name, b.rule, b.recent * exp(-least(600, greatest(0, extract(epoch from clock_timestamp() - b.at))) / 10) / 10 as used
    from gaia.limit_bucket b
), known as (
    select r.name from gaia.limit_rule r
    union select p.name from place p
    union select b.name from bucket b where b.used > 0.001
    union select c.name from gaia.limit_closed c where c.until > clock_timestamp()
)
select k.name, r.rate, r.burst, r.places, coalesce(p.held, 0)::int8 as held, coalesce(p.short, 0)::int8 as short,
    coalesce(b.used, 0)::float8 as used,
    case when c.until > clock_timestamp() then c.until end as closed_until,
    case when c.until > clock_timestamp() then c.reason end as reason
from known k
left join gaia.limit_rule r on r.name = k.name
left join place p on p.name = k.name
left join bucket b on b.name = k.name
left join gaia.limit_closed c on c.name = k.name
order by r.name is null, k.name
limit $1
