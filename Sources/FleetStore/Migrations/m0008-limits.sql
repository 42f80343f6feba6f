-- Limits that the whole fleet shares: rates, places and closed doors, by name.
--
-- A rate is handed out as stretches of time. A bucket says up to when its units are spoken for; whoever asks for some is
-- told from when on they flow, which may be a moment ahead. So those who ask have their units one after the other in the
-- order of their questions, nobody asks in vain and again, and units that a dead worker had asked for are lost and nothing
-- else.
--
-- Places are shared out by counting: each worker says how many it uses and wants, and is told how many it may use. What it
-- holds ends with its epoch, like all that it has.

-- What is set. A name that ends in .* is a pattern, which holds for each name that begins so by itself; the exact name goes
-- before patterns, and a longer pattern before a shorter one.
create table gaia.limit_rule (
    name text primary key,
    -- Units a second, and how many of them may be saved up.
    rate double precision,
    burst double precision,
    -- How many at once.
    places integer,
    set_at timestamptz not null default now(),
    constraint limit_rule_some check (num_nonnulls(rate, places) > 0 and (rate is null) = (burst is null))
);

-- Names, or patterns, that nobody may use for a while.
create table gaia.limit_closed (
    name text primary key,
    until timestamptz not null,
    reason text not null,
    since timestamptz not null default now()
);

-- One row per name whose rate was asked for lately; none is the same as a full one. Not logged: after a crash of the server
-- the buckets are full, which costs no more than their burst, and a question costs no flush.
create unlogged table gaia.limit_bucket (
    name text primary key,
    rule text not null,
    -- As of `at`: for how many seconds its units are spoken for; below zero, how many seconds' worth is saved up.
    ahead double precision not null,
    at timestamptz not null,
    -- Units handed out, each counted less the longer it is ago: ten times the present rate.
    recent double precision not null default 0
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
create index limit_bucket_rule on gaia.limit_bucket (rule);

-- One row per worker that uses or wants places of a name.
create table gaia.limit_place (
    name text not null,
    worker bigint not null,
    epoch integer not null,
    -- The number of the worker's statement: one that comes late changes nothing.
    turn bigint not null,
    -- How many it may use, and how many it would, by what it said last.
    held integer not null,
    wanted integer not null,
    told_at timestamptz not null,
    -- Since when it has had less than its share.
    short_since timestamptz,
    primary key (name, worker)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
create index limit_place_worker on gaia.limit_place (worker);

-- How many names of one pattern have a bucket of their own; beyond that the rest share one.
create function gaia.limit_names_max() returns integer language sql immutable as 'select 10000';
-- How many rules there may be: each worker holds them all.
create function gaia.limit_rules_max() returns integer language sql immutable as 'select 10000';

-- For fleet workers: units of many names in one call. Of each name: the units that the first in line lacks and how long it
-- will wait for them, how many more would be welcome, and how many are given back unused.
-- Answers: granted (so many units, the first of which flows in so many ms, or has flowed for so long already; the others
-- follow at the rate), busy (the first would have waited longer than it will: so many ms), closed (for so many ms),
-- unlimited (no such rule any more), fenced (the epoch has ended).
create function gaia.limit_take(
    of_worker bigint, of_epoch integer, names text[], rules text[], firsts double precision[],
    waits_ms double precision[], mores double precision[], unused double precision[])
returns table (
    name text, answer text, units double precision, ahead_ms double precision, rate double precision,
    pause_ms double precision)
language plpgsql as $$
#variable_conflict use_column
declare
    -- How far ahead units are promised, in seconds, beyond those that somebody waits for already. As much of them may be
    -- lost with a worker.
    horizon constant double precision := 0.2;
    asked record;
    rule gaia.limit_rule;
    bucket gaia.limit_bucket;
    moment timestamptz;
    passed double precision;
    room double precision;
begin
    if not gaia.lock_lives(of_worker, of_epoch, null) then
        return query select n, 'fenced', 0::float8, 0::float8, 0::float8, 0::float8 from unnest(names) as n;
        return;
    end if;
    -- In one order for all, or two batches that share two names could wait for each other.
    for asked in
        select a.* from unnest(names, rules, firsts, waits_ms, mores, unused)
            as a (name, rule, first, wait_ms, more, unused)
        order by a.name
    loop
        name := asked.name;
        units := 0;
        ahead_ms := 0;
        pause_ms := 0;
        select r.* into rule from gaia.limit_rule r where r.name = asked.rule and r.rate is not null;
        if not found then
            answer := 'unlimited';
            rate := 0;
            return next;
            continue;
        end if;
        rate := rule.rate;
        bucket := gaia.limit_bucket_of(asked.name, rule);
        -- After the wait for the row, or time would seem to run back.
        moment := clock_timestamp();
        passed := greatest(0, extract(epoch from moment - bucket.at));
        bucket.ahead := greatest(bucket.ahead - passed - asked.unused / rule.rate, -rule.burst / rule.rate);
        select extract(epoch from max(c.until) - moment) * 1000 into pause_ms
        from gaia.limit_closed c where c.name in (asked.name, asked.rule) and c.until > moment;
        if pause_ms is not null then
            answer := 'closed';
        elsif bucket.ahead + asked.first / rule.rate > asked.wait_ms / 1000 and asked.first > 0 then
            answer := 'busy';
            pause_ms := (bucket.ahead + asked.first / rule.rate) * 1000;
        else
            answer := 'granted';
            pause_ms := 0;
            ahead_ms := bucket.ahead * 1000;
            -- Half of what there is, so that the next to ask finds some; without anybody waiting, only of what is saved up.
            room := (case when asked.first > 0 then horizon else 0 end - bucket.ahead) * rule.rate - asked.first;
            units := asked.first + least(asked.more, greatest(0, floor(room / 2)));
            bucket.ahead := bucket.ahead + units / rule.rate;
        end if;
        if units > 0 or asked.unused > 0 then
            update gaia.limit_bucket b
            set ahead = bucket.ahead, at = moment, rule = asked.rule,
                recent = greatest(0, b.recent * exp(-least(passed, 600) / 10) + units - asked.unused)
            where b.name = bucket.name;
        end if;
        return next;
    end loop;
end
$$;

-- The bucket of a name, locked for the caller.
create function gaia.limit_bucket_of(of_name text, of_rule gaia.limit_rule) returns gaia.limit_bucket
language plpgsql as $$
declare
    bucket gaia.limit_bucket;
    its_name text := of_name;
begin
    select b.* into bucket from gaia.limit_bucket b where b.name = of_name for update;
    if found then
        return bucket;
    end if;
    if of_name <> of_rule.name and (
        select count(*) from (
            select from gaia.limit_bucket b where b.rule = of_rule.name limit gaia.limit_names_max()) as known)
        >= gaia.limit_names_max()
    then
        its_name := of_rule.name;
    end if;
    insert into gaia.limit_bucket (name, rule, ahead, at)
    values (its_name, of_rule.name, -of_rule.burst / of_rule.rate, clock_timestamp())
    on conflict do nothing;
    select b.* into strict bucket from gaia.limit_bucket b where b.name = its_name for update;
    return bucket;
end
$$;

-- For fleet workers: places of many names in one call. Of each name: how many the worker uses at this moment, and how many
-- it would use. Answers: share (so many it may use; what it uses beyond that is to be given back as soon as it can),
-- unlimited, late (a later statement of the same worker was here before), fenced.
--
-- Where more is wanted than there is, each has an equal share, and what some do not want goes to the others; where there are
-- more workers than places, they have them in turns.
create function gaia.limit_share(
    of_worker bigint, of_epoch integer, of_turn bigint, names text[], rules text[], uses integer[], wants integer[])
returns table (name text, answer text, places integer)
language plpgsql as $$
#variable_conflict use_column
declare
    asked record;
    mine gaia.limit_place;
    in_all integer;
    others record;
    left_over integer;
    fair integer;
    is_short boolean;
    short timestamptz;
    owed record;
    moment timestamptz;
begin
    if not gaia.lock_lives(of_worker, of_epoch, null) then
        return query select n, 'fenced', 0 from unnest(names) as n;
        return;
    end if;
    for asked in
        select a.* from unnest(names, rules, uses, wants) as a (name, rule, used, wanted)
        order by hashtext(a.name), a.name
    loop
        name := asked.name;
        places := 0;
        answer := 'unlimited';
        -- The order of one name, to the end of the transaction. The bytes of the class spell "GAID".
        perform pg_advisory_xact_lock(1195460932, hashtext(asked.name));
        moment := clock_timestamp();
        select r.places into in_all from gaia.limit_rule r where r.name = asked.rule;
        if in_all is null then
            delete from gaia.limit_place p where p.name = asked.name and p.worker = of_worker;
            return next;
            continue;
        end if;
        select p.* into mine from gaia.limit_place p where p.name = asked.name and p.worker = of_worker;
        if mine.epoch = of_epoch and mine.turn >= of_turn then
            answer := 'late';
            return next;
            continue;
        end if;
        if mine.epoch is distinct from of_epoch then
            mine.held := 0;
            mine.short_since := null;
        end if;
        select coalesce(sum(p.held), 0) as held, count(*) filter (where p.wanted > 0) as number into others
        from gaia.limit_place p
        where p.name = asked.name and p.worker <> of_worker and gaia.lock_lives(p.worker, p.epoch, null);
        left_over := in_all - others.held;
        fair := greatest(1, in_all / greatest(1, others.number + case when asked.wanted > 0 then 1 else 0 end));
        short := coalesce(mine.short_since, moment);
        -- What others lack of their share: all of them, and those who have lacked it for longer. One that has not asked for
        -- a second hangs, and nothing is kept for it.
        select coalesce(sum(least(p.wanted, fair) - p.held), 0) as lacking,
            coalesce(sum(least(p.wanted, fair) - p.held) filter (where coalesce(p.short_since, p.told_at) < short), 0) as lacking_longer
        into owed
        from gaia.limit_place p
        where p.name = asked.name and p.worker <> of_worker and p.held < least(p.wanted, fair)
          and p.told_at > moment - interval '1 second' and gaia.lock_lives(p.worker, p.epoch, null);
        answer := 'share';
        places := greatest(
            0, least(asked.wanted, fair, left_over - owed.lacking_longer), least(asked.wanted, left_over - owed.lacking));
        is_short := greatest(asked.used, places) < least(asked.wanted, fair);
        if asked.wanted = 0 and asked.used = 0 then
            delete from gaia.limit_place p where p.name = asked.name and p.worker = of_worker;
        else
            insert into gaia.limit_place as p (name, worker, epoch, turn, held, wanted, told_at, short_since)
            values (asked.name, of_worker, of_epoch, of_turn, greatest(asked.used, places), asked.wanted, moment,
                case when is_short then short end)
            on conflict (name, worker) do update
            set epoch = excluded.epoch, turn = excluded.turn, held = excluded.held, wanted = excluded.wanted,
                told_at = excluded.told_at, short_since = excluded.short_since;
        end if;
        -- Room for those who lack some; or a wish that the others, with places to spare, do not know of.
        if owed.lacking > 0 and greatest(asked.used, places) < mine.held
            or is_short and mine.short_since is null and others.held > 0 then
            perform pg_notify('gaia_limit', asked.name);
        end if;
        return next;
    end loop;
end
$$;

-- When an epoch ends, by whomever, its places are free.
create function gaia.limit_sweep() returns trigger
language plpgsql as $$
declare
    freed text;
begin
    for freed in
        delete from gaia.limit_place p where p.worker = old.id and p.epoch <= old.epoch
        returning p.name
    loop
        perform pg_notify('gaia_limit', freed);
    end loop;
    return null;
end
$$;

create function gaia.limit_check_name(of_name text, what text) returns void
language plpgsql immutable as $$
begin
    if of_name is null or octet_length(of_name) not between 1 and 200 or of_name ~ '[\x01-\x20\x7f]'
        or replace(regexp_replace(of_name, '\.\*$', ''), '*', '') <> regexp_replace(of_name, '\.\*$', '') then
        raise exception '''%'' is no name of a %', of_name, what using errcode = 'invalid_parameter_value',
            hint = 'a name has 1 to 200 bytes without spaces, as in api.host.example.org; a pattern ends in .*, as in api.host.*';
    end if;
end
$$;

-- The functions below are for operators and services. They run with the rights of the schema's owner, and nobody may call
-- them who was not granted it: grant execute on function gaia.limit_set to …

-- Sets a limit, or changes it: what is null stays as it is, and 0 takes that part away. The burst goes with the rate: a
-- tenth of a second's worth, at least 1, where none is given.
--   select gaia.limit_set('api.host.*', rate => 10);
--   select gaia.limit_set('network.connections', places => 200);
create function gaia.limit_set(
    name text, rate double precision default null, burst double precision default null, places integer default null)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    rule gaia.limit_rule;
begin
    perform gaia.limit_check_name(limit_set.name, 'limit');
    if limit_set.rate < 0 or limit_set.rate > 1e12 or limit_set.rate between 1e-300 and 1e-6
        or limit_set.rate = 'NaN' or limit_set.burst <= 0 or limit_set.burst > 1e15 or limit_set.burst = 'NaN'
        or limit_set.places < 0 or limit_set.places > 1000000 then
        raise exception 'a rate is 0.000001 to 10^12 units a second, a burst above 0, places 1 to 1,000,000; 0 takes it away'
            using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock(1195460932, 0);
    select r.* into rule from gaia.limit_rule r where r.name = limit_set.name for update;
    if not found and (select count(*) from gaia.limit_rule) >= gaia.limit_rules_max() then
        raise exception 'there are % limits already', gaia.limit_rules_max() using errcode = 'program_limit_exceeded',
            hint = 'a pattern such as api.host.* serves many names';
    end if;
    rule.rate := nullif(coalesce(limit_set.rate, rule.rate), 0);
    rule.places := nullif(coalesce(limit_set.places, rule.places), 0);
    rule.burst := case
        when rule.rate is null then null
        when limit_set.burst is not null then limit_set.burst
        when limit_set.rate is null then rule.burst
        else greatest(1, rule.rate / 10) end;
    if rule.rate is null and rule.places is null then
        raise exception 'the limit ''%'' would limit nothing', limit_set.name using errcode = 'invalid_parameter_value',
            hint = 'give a rate or places; gaia.limit_remove takes a limit away';
    end if;
    if rule.rate is null and limit_set.burst is not null then
        raise exception 'a burst goes with a rate, and ''%'' has none', limit_set.name
            using errcode = 'invalid_parameter_value';
    end if;
    insert into gaia.limit_rule (name, rate, burst, places)
    values (limit_set.name, rule.rate, rule.burst, rule.places)
    on conflict (name) do update
    set rate = excluded.rate, burst = excluded.burst, places = excluded.places, set_at = now();
    perform pg_notify('gaia_limit', '');
end
$$;

-- Takes a limit away. Returns false when there was none.
create function gaia.limit_remove(name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from gaia.limit_rule r where r.name = limit_remove.name;
    if not found then return false; end if;
    delete from gaia.limit_bucket b where b.rule = limit_remove.name;
    perform pg_notify('gaia_limit', '');
    return true;
end
$$;

-- Closes a name, or all that a pattern stands for, for a while. One that is closed for longer stays so.
create function gaia.limit_close(name text, pause interval, reason text default '') returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform gaia.limit_check_name(limit_close.name, 'limit');
    if limit_close.pause is null or limit_close.pause not between interval '1 millisecond' and interval '1 day' then
        raise exception 'a name is closed for 1 ms to 1 day, not for %', coalesce(limit_close.pause::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    insert into gaia.limit_closed as c (name, until, reason)
    values (limit_close.name, clock_timestamp() + limit_close.pause, left(coalesce(limit_close.reason, ''), 200))
    on conflict (name) do update
    set until = excluded.until, reason = excluded.reason,
        since = case when c.until > clock_timestamp() then c.since else now() end
    where c.until < excluded.until;
    if found then
        perform pg_notify('gaia_limit', '');
    end if;
end
$$;

-- Opens a name that was closed. Returns false when it was not.
create function gaia.limit_open(name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was timestamptz;
begin
    delete from gaia.limit_closed c where c.name = limit_open.name returning c.until into was;
    if was is null or was <= clock_timestamp() then return false; end if;
    perform pg_notify('gaia_limit', '');
    return true;
end
$$;

create trigger worker_limits after update of epoch on gaia.worker
for each row when (old.epoch <> new.epoch) execute function gaia.limit_sweep();

revoke execute on function gaia.limit_names_max, gaia.limit_rules_max, gaia.limit_take, gaia.limit_bucket_of,
    gaia.limit_share, gaia.limit_sweep, gaia.limit_check_name, gaia.limit_set, gaia.limit_remove, gaia.limit_close,
    gaia.limit_open from public;

-- When a job for later was due: its age counts from there, not from when it was given to the fleet.
alter table gaia.job add column due_at timestamptz;
