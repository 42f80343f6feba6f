-- Locks by name, for the fleet's jobs and for any other service that reaches this database.
--
-- Whoever asks for a name draws a number, and the name goes to its askers in the order of their numbers: the number that
-- has its turn is the fencing token. So tokens rise for each name through release, crash and force, and no row has to
-- remember a name that nobody holds.
--
-- That order holds because everything that changes one name does so under that name's own advisory lock, held to the end
-- of the transaction (lock_name below): a number is drawn after all changes before it are committed and seen.

create sequence gaia.lock_number as bigint;

-- One row per name that is held. Of a fleet worker's lock the worker's own lease decides: one row to renew, however many
-- locks. Any other holder has a lease of its own.
create table gaia.lock (
    name text primary key,
    token bigint not null,
    -- For a person: the job, or the service.
    holder text not null,
    worker bigint,
    epoch integer,
    -- What the worker calls this acquisition; unique within its epoch, so that a call may be repeated.
    request bigint,
    expires_at timestamptz,
    acquired_at timestamptz not null default clock_timestamp(),
    constraint lock_owner check (
        case when expires_at is null then num_nulls(worker, epoch, request) = 0
            else num_nonnulls(worker, epoch, request) = 0 end)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

-- Who waits, in the order of the numbers drawn.
create table gaia.lock_waiter (
    name text not null,
    number bigint not null,
    holder text not null,
    worker bigint,
    epoch integer,
    request bigint,
    -- For a holder that is no fleet worker: how long it will hold without renewing.
    lease interval,
    until timestamptz not null,
    primary key (name, number)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
create unique index lock_waiter_request on gaia.lock_waiter (worker, epoch, request) where worker is not null;

-- How many may wait for one name.
create function gaia.lock_waiters_max() returns integer language sql immutable as 'select 10000';

-- Whether an owner still is one: a worker's epoch that lives, or a time that has not come. The same as in a claim.
create function gaia.lock_lives(of_worker bigint, of_epoch integer, of_end timestamptz) returns boolean
language sql stable as $$
    select case when of_worker is null then of_end > statement_timestamp()
        else exists (
            select from gaia.worker w
            where w.id = of_worker and w.epoch = of_epoch and w.state <> 'gone'
              and w.lease_until > statement_timestamp())
        end
$$;

-- The order of one name: held to the end of the transaction by whoever changes it. The bytes of the class spell "GAIC".
-- A service that keeps its transaction open would stop everyone who wants that name, and a batch with it, so nobody waits
-- long, and the impatient not at all. Returns whether the name is ours now.
create function gaia.lock_name(of_name text, patient boolean) returns boolean
language plpgsql as $$
begin
    return pg_try_advisory_xact_lock(1195460931, hashtext(of_name)) or (patient and gaia.lock_name_slowly(of_name));
end
$$;

create function gaia.lock_name_slowly(of_name text) returns boolean
language plpgsql set lock_timeout = '200ms' as $$
begin
    perform pg_advisory_xact_lock(1195460931, hashtext(of_name));
    return true;
exception when lock_not_available then
    return false;
end
$$;

-- Gives a name to the first who waits and lives; none leaves it free. Under lock_name, with the lock's row absent or
-- locked by the caller. Whoever is passed over as dead is struck out, so that no number has its turn after a higher one.
-- The heir is told, unless it is the worker that calls, which reads the answer.
create function gaia.lock_pass(of_name text, after_number bigint, by_worker bigint, out heir bigint, out token bigint)
language plpgsql as $$
declare
    head gaia.lock_waiter;
begin
    select w.* into head
    from gaia.lock_waiter w
    where w.name = of_name and w.number > after_number and gaia.lock_lives(w.worker, w.epoch, w.until)
      and w.until > statement_timestamp()
    order by w.number
    limit 1;
    if not found then
        delete from gaia.lock_waiter w where w.name = of_name;
        delete from gaia.lock l where l.name = of_name;
        return;
    end if;
    delete from gaia.lock_waiter w where w.name = of_name and w.number <= head.number;
    insert into gaia.lock as l (name, token, holder, worker, epoch, request, expires_at)
    values (of_name, head.number, head.holder, head.worker, head.epoch, head.request, statement_timestamp() + head.lease)
    on conflict (name) do update
    set token = excluded.token, holder = excluded.holder, worker = excluded.worker, epoch = excluded.epoch,
        request = excluded.request, expires_at = excluded.expires_at, acquired_at = clock_timestamp();
    token := head.number;
    if head.worker is null then
        perform pg_notify('gaia_lock', head.number::text);
    elsif head.worker = by_worker then
        heir := head.request;
    else
        perform pg_notify('gaia_lock_' || head.worker, head.request::text);
    end if;
end
$$;

-- Passes a name on when nobody holds it any more. Under lock_name.
-- Returns whether somebody holds it now. A holder that is gone but has a guarded write under way still counts: the
-- write's lock on the row outlasts its owner's life until it commits.
create function gaia.lock_advance(of_name text, by_worker bigint) returns boolean
language plpgsql as $$
declare
    held gaia.lock;
    heir record;
begin
    select l.* into held from gaia.lock l where l.name = of_name;
    if found then
        if gaia.lock_lives(held.worker, held.epoch, held.expires_at) then return true; end if;
        perform from gaia.lock l where l.name = of_name for update skip locked;
        if not found and exists (select from gaia.lock l where l.name = of_name) then return true; end if;
    end if;
    heir := gaia.lock_pass(of_name, coalesce(held.token, 0), by_worker);
    return heir.token is not null;
end
$$;

-- Asks for a name: takes it when it is free, else draws a number and waits if that is wanted. Under lock_name.
-- Answers: held, waiting, refused (held by another, and no wait wanted), crowded (too many wait).
create function gaia.lock_ask(
    of_name text, of_holder text, of_worker bigint, of_epoch integer, of_request bigint, of_lease interval,
    wait interval, out answer text, out number bigint)
language plpgsql as $$
begin
    if exists (select from gaia.lock l where l.name = of_name) or exists (
        select from gaia.lock_waiter w where w.name = of_name)
    then
        if gaia.lock_advance(of_name, of_worker) then
            -- The same question again, after an answer that was lost?
            select l.token into number from gaia.lock l
            where l.name = of_name and l.worker = of_worker and l.epoch = of_epoch and l.request = of_request;
            if found then
                answer := 'held';
                return;
            end if;
            select w.number into number from gaia.lock_waiter w
            where w.worker = of_worker and w.epoch = of_epoch and w.request = of_request;
            if found then
                answer := 'waiting';
                return;
            end if;
            if wait <= interval '0' then
                answer := 'refused';
                return;
            end if;
            if (select count(*) from (
                    select from gaia.lock_waiter w where w.name = of_name limit gaia.lock_waiters_max()) as line)
                >= gaia.lock_waiters_max()
            then
                answer := 'crowded';
                return;
            end if;
            answer := 'waiting';
            number := nextval('gaia.lock_number');
            insert into gaia.lock_waiter (name, number, holder, worker, epoch, request, lease, until)
            values (of_name, number, of_holder, of_worker, of_epoch, of_request, of_lease, statement_timestamp() + wait);
            return;
        end if;
    end if;
    answer := 'held';
    number := nextval('gaia.lock_number');
    insert into gaia.lock (name, token, holder, worker, epoch, request, expires_at)
    values (of_name, number, of_holder, of_worker, of_epoch, of_request, statement_timestamp() + of_lease);
end
$$;

-- For fleet workers: many questions in one call. Answers besides those of lock_ask: fenced (the epoch has ended),
-- busy (somebody keeps a transaction open on this name: ask again).
create function gaia.lock_enter(
    of_worker bigint, of_epoch integer, names text[], requests bigint[], holders text[], waits_ms bigint[])
returns table (request bigint, answer text, token bigint)
language plpgsql as $$
declare
    asked record;
    replied record;
    patient boolean := true;
begin
    if not gaia.lock_lives(of_worker, of_epoch, null) then
        return query select r, 'fenced', null::bigint from unnest(requests) as r;
        return;
    end if;
    -- In one order for all, or two batches that share two names could wait for each other.
    for asked in
        select a.* from unnest(names, requests, holders, waits_ms) as a (name, request, holder, wait_ms)
        order by hashtext(a.name), a.name, a.request
    loop
        request := asked.request;
        token := null;
        if gaia.lock_name(asked.name, patient) then
            replied := gaia.lock_ask(
                asked.name, asked.holder, of_worker, of_epoch, asked.request, null,
                asked.wait_ms * interval '1 millisecond');
            answer := replied.answer;
            token := replied.number;
        else
            answer := 'busy';
            -- The rest of the batch shall not wait as well.
            patient := false;
        end if;
        return next;
    end loop;
end
$$;

-- For fleet workers: how it stands with what waits. Answers: held, waiting, gone. A name whose holder is gone is passed
-- on here, which is what finds it when no notification came.
create function gaia.lock_look(of_worker bigint, of_epoch integer, names text[], requests bigint[])
returns table (request bigint, answer text, token bigint)
language plpgsql as $$
declare
    seen record;
begin
    for seen in
        -- One snapshot for both tables: in two, a waiter that becomes the holder in between would be seen in neither.
        select a.name, a.request, w.number is not null as waits,
            case when l.worker = of_worker and l.epoch = of_epoch and l.request = a.request then l.token end as token,
            l.name is not null and gaia.lock_lives(l.worker, l.epoch, l.expires_at) as taken
        from unnest(names, requests) as a (name, request)
        left join gaia.lock l on l.name = a.name
        left join gaia.lock_waiter w on w.worker = of_worker and w.epoch = of_epoch and w.request = a.request
        order by hashtext(a.name), a.name, a.request
    loop
        request := seen.request;
        token := seen.token;
        if token is null and seen.waits and not seen.taken and gaia.lock_name(seen.name, false) then
            perform gaia.lock_advance(seen.name, of_worker);
            select l.token into token from gaia.lock l
            where l.name = seen.name and l.worker = of_worker and l.epoch = of_epoch and l.request = seen.request;
        end if;
        answer := case when token is not null then 'held' when seen.waits then 'waiting' else 'gone' end;
        return next;
    end loop;
end
$$;

-- For fleet workers: no longer wanted, whether held or waited for. Answers: left, busy (ask again). When the name went to
-- another request of the same worker, that request and its token stand beside it.
create function gaia.lock_leave(of_worker bigint, of_epoch integer, names text[], requests bigint[])
returns table (request bigint, answer text, heir bigint, heir_token bigint)
language plpgsql as $$
declare
    wanted record;
    held bigint;
    patient boolean := true;
begin
    for wanted in
        select a.* from unnest(names, requests) as a (name, request) order by hashtext(a.name), a.name, a.request
    loop
        request := wanted.request;
        answer := 'left';
        heir := null;
        heir_token := null;
        if not gaia.lock_name(wanted.name, patient) then
            answer := 'busy';
            patient := false;
        else
            delete from gaia.lock_waiter w
            where w.worker = of_worker and w.epoch = of_epoch and w.request = wanted.request;
            select l.token into held from gaia.lock l
            where l.name = wanted.name and l.worker = of_worker and l.epoch = of_epoch and l.request = wanted.request;
            if found then
                -- A guarded write that is still under way comes first.
                perform from gaia.lock l where l.name = wanted.name for update skip locked;
                if found then
                    select p.heir, p.token into heir, heir_token
                    from gaia.lock_pass(wanted.name, held, of_worker) as p
                    where p.heir is not null;
                else
                    answer := 'busy';
                end if;
            end if;
        end if;
        return next;
    end loop;
end
$$;

-- An operator takes a lock away, or gives a dead one's place to the next. Waits for a guarded write that is under way.
-- Returns what was taken and who has the name now; no row when nobody held it, or not under this token.
create function gaia.lock_force(of_name text, of_token bigint)
returns table (
    token bigint, holder text, worker bigint, acquired_at timestamptz, heir_token bigint, heir_holder text)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1195460931, hashtext(of_name));
    select l.token, l.holder, l.worker, l.acquired_at into token, holder, worker, acquired_at
    from gaia.lock l
    where l.name = of_name and l.token = coalesce(of_token, l.token)
    for update;
    if not found then return; end if;
    perform gaia.lock_pass(of_name, token, null);
    select l.token, l.holder into heir_token, heir_holder from gaia.lock l where l.name = of_name;
    return next;
end
$$;

-- What the functions for other services ask first: they see what others have committed only at read committed.
create function gaia.lock_begin(of_name text) returns void
language plpgsql as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'locks need the isolation level read committed, this transaction has %',
            current_setting('transaction_isolation')
            using errcode = 'LK003', hint = 'call lock functions outside of this transaction';
    end if;
    if of_name is null or octet_length(of_name) not between 1 and 200 then
        raise exception 'a lock''s name has 1 to 200 bytes' using errcode = '22023';
    end if;
    if not gaia.lock_name(of_name, true) then
        raise exception 'another transaction keeps the lock ''%'' busy', of_name
            using errcode = '55P03', hint = 'try again; and call lock functions in transactions of their own';
    end if;
end
$$;

create function gaia.lock_span(what text, span interval) returns interval
language plpgsql immutable as $$
begin
    if span is null or span not between interval '100 milliseconds' and interval '1 day' then
        raise exception 'a % lasts 100 ms to 1 day, not %', what, coalesce(span::text, 'null') using errcode = '22023';
    end if;
    return span;
end
$$;

-- Everything below is for services of any kind and documented in docs/locks.md. They run with the rights of the schema's
-- owner: a service needs "usage" on the schema and nothing else.

-- Takes the lock if it is free. Returns its token; null when another has it or waits for it.
create function gaia.lock_try(name text, holder text, lease interval) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    replied record;
begin
    perform gaia.lock_begin(name);
    replied := gaia.lock_ask(
        name, left(coalesce(holder, ''), 200), null, null, null, gaia.lock_span('lease', lease), interval '0');
    return case when replied.answer = 'held' then replied.number end;
end
$$;

-- Gets in line. Returns the number drawn: the token, once lock_turn says that it has its turn.
create function gaia.lock_queue(name text, holder text, lease interval, wait interval) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    replied record;
begin
    perform gaia.lock_begin(name);
    replied := gaia.lock_ask(
        name, left(coalesce(holder, ''), 200), null, null, null, gaia.lock_span('lease', lease),
        gaia.lock_span('wait', wait));
    if replied.answer = 'crowded' then
        raise exception 'too many wait for the lock ''%''', name using errcode = 'LK002', hint = 'try again later';
    end if;
    return replied.number;
end
$$;

-- Whether the number drawn has its turn: the lock is held under it as token.
create function gaia.lock_turn(name text, number bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform gaia.lock_begin(name);
    perform from gaia.lock_waiter w
    where w.name = lock_turn.name and w.number = lock_turn.number and w.until > statement_timestamp();
    if found then perform gaia.lock_advance(name, null); end if;
    perform from gaia.lock l
    where l.name = lock_turn.name and l.token = lock_turn.number
      and gaia.lock_lives(l.worker, l.epoch, l.expires_at);
    if found then return true; end if;
    perform from gaia.lock_waiter w
    where w.name = lock_turn.name and w.number = lock_turn.number and w.until > statement_timestamp();
    if found then return false; end if;
    raise exception 'number % is not in line for the lock ''%''', number, name
        using errcode = 'LK001', hint = 'its wait or its lease is over, or it was taken away';
end
$$;

-- Holds on for another lease from now. Returns false when the lock is no longer held under this token.
create function gaia.lock_renew(name text, token bigint, lease interval) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform gaia.lock_begin(name);
    update gaia.lock l
    set expires_at = statement_timestamp() + gaia.lock_span('lease', lease)
    where l.name = lock_renew.name and l.token = lock_renew.token and l.expires_at > statement_timestamp();
    return found;
end
$$;

-- Gives the lock back, or the place in line. Returns false when there was nothing under this token.
create function gaia.lock_release(name text, token bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform gaia.lock_begin(name);
    delete from gaia.lock_waiter w where w.name = lock_release.name and w.number = lock_release.token;
    if found then return true; end if;
    perform from gaia.lock l where l.name = lock_release.name and l.token = lock_release.token for update;
    if not found then return false; end if;
    perform gaia.lock_pass(name, token, null);
    return true;
end
$$;

-- The guard of a write: call it in the write's own transaction. Until that ends nobody else can get the lock: whoever
-- passes it on locks the row for update first. A renewal may go on meanwhile.
create function gaia.lock_check(name text, token bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from gaia.lock l
    where l.name = lock_check.name and l.token = lock_check.token
      and gaia.lock_lives(l.worker, l.epoch, l.expires_at)
    for key share;
    if not found then
        raise exception 'the lock ''%'' is not held under token %', name, token
            using errcode = 'LK001', hint = 'another may hold it by now: give up this write and what led to it';
    end if;
end
$$;

-- When an epoch ends, by whomever, its locks are free. This clears away what is dead and tells the first in each line,
-- which takes its turn by itself. What a transaction keeps busy is left: it is dead all the same.
create function gaia.lock_sweep() returns trigger
language plpgsql as $$
begin
    delete from gaia.lock_waiter w
    where (w.name, w.number) in (
        select d.name, d.number from gaia.lock_waiter d
        where not gaia.lock_lives(d.worker, d.epoch, d.until) or d.until <= statement_timestamp()
        for update of d skip locked);
    perform pg_notify(
        case when w.worker is null then 'gaia_lock' else 'gaia_lock_' || w.worker end,
        coalesce(w.request, w.number)::text)
    from gaia.lock l
    cross join lateral (
        select h.worker, h.request, h.number from gaia.lock_waiter h
        where h.name = l.name and gaia.lock_lives(h.worker, h.epoch, h.until)
        order by h.number
        limit 1) as w
    where not gaia.lock_lives(l.worker, l.epoch, l.expires_at);
    delete from gaia.lock l
    where l.name in (
        select d.name from gaia.lock d
        where not gaia.lock_lives(d.worker, d.epoch, d.expires_at)
        for update of d skip locked);
    return null;
end
$$;
create trigger worker_locks after update of epoch on gaia.worker
for each row when (old.epoch <> new.epoch) execute function gaia.lock_sweep();

revoke execute on function gaia.lock_waiters_max, gaia.lock_lives, gaia.lock_name, gaia.lock_name_slowly,
    gaia.lock_pass, gaia.lock_advance, gaia.lock_ask, gaia.lock_enter, gaia.lock_look, gaia.lock_leave, gaia.lock_force,
    gaia.lock_begin, gaia.lock_span, gaia.lock_sweep from public;
