-- Jobs that were given up, for people: one small row each, so that they are found without reading the whole ledger.
create table gaia.dead (
    subsystem text not null,
    key text not null,
    type text not null,
    -- The same for the same cause: see gaia.fingerprint.
    fingerprint text not null,
    kind text not null,
    code text not null,
    message text not null,
    attempt integer not null,
    worker text not null,
    at timestamptz not null default now(),
    primary key (subsystem, key)
);
create index dead_cause on gaia.dead (fingerprint, at);

-- From when a job's age and deadline count, after an operator has had it run again.
alter table gaia.job add column replayed_at timestamptz;

-- What names a cause: the type, the error's code, and its message without what differs from job to job, which is quoted
-- text, long hexadecimal words and numbers.
create function gaia.fingerprint(type text, code text, message text) returns text
language sql immutable as $$
    select left(encode(sha256(convert_to(
        type || chr(10) || code || chr(10) || left(
            regexp_replace(
                regexp_replace(
                    regexp_replace(message, '''[^'']*''|"[^"]*"', '…', 'g'),
                    '\m[0-9a-f]{4,}(-?[0-9a-f]{4,})+\M', '#', 'gi'),
                '[0-9]+', '#', 'g'),
            300), 'UTF8')), 'hex'), 8)
$$;

create function gaia.note_dead() returns trigger language plpgsql as $$
declare
    error jsonb := new.errors -> -1;
begin
    -- What an operator has decided needs no operator.
    if error ->> 'kind' = 'resolved' then
        return null;
    end if;
    insert into gaia.dead (subsystem, key, type, fingerprint, kind, code, message, attempt, worker)
    values (
        new.subsystem, new.key, new.type,
        gaia.fingerprint(new.type, coalesce(error ->> 'code', ''), coalesce(error ->> 'message', '')),
        coalesce(error ->> 'kind', ''), coalesce(error ->> 'code', ''), left(coalesce(error ->> 'message', ''), 1000),
        coalesce((error ->> 'attempt')::integer, new.attempt), coalesce(error ->> 'worker', ''))
    on conflict (subsystem, key) do update
    set type = excluded.type, fingerprint = excluded.fingerprint, kind = excluded.kind, code = excluded.code,
        message = excluded.message, attempt = excluded.attempt, worker = excluded.worker, at = now();
    return null;
end $$;

-- Whatever statement it was that gave a job up, it is noted.
create trigger job_dead after update of state on gaia.job
    for each row when (new.state = 'discarded' and old.state <> 'discarded') execute function gaia.note_dead();

insert into gaia.dead (subsystem, key, type, fingerprint, kind, code, message, attempt, worker, at)
select subsystem, key, type, gaia.fingerprint(type, coalesce(error ->> 'code', ''), coalesce(error ->> 'message', '')),
    coalesce(error ->> 'kind', ''), coalesce(error ->> 'code', ''), left(coalesce(error ->> 'message', ''), 1000),
    attempt, coalesce(error ->> 'worker', ''), coalesce(finished_at, now())
from (select j.*, j.errors -> -1 as error from gaia.job j where j.state = 'discarded') j
where error ->> 'kind' is distinct from 'resolved';

-- Has a discarded job run again under its own key, from its first attempt. Its errors are kept. A job in any other state
-- is left alone: what has taken effect is not repeated. Answers: replayed, or the state it is in, or unknown.
create function gaia.replay(the_subsystem text, the_key text, the_payload text default null) returns text
language plpgsql as $$
declare
    found_state text;
begin
    select state into found_state from gaia.job
    where subsystem = the_subsystem and key = the_key for no key update;
    if found_state is distinct from 'discarded' then
        return coalesce(found_state, 'unknown');
    end if;
    update gaia.job
    set state = 'queued', token = token + 1, attempt = 0, crashes = 0, output = null, finished_at = null,
        not_before = null, progress = null, replayed_at = now(),
        deadline_at = now() + (deadline_at - coalesce(replayed_at, created_at)),
        payload = coalesce(the_payload, payload),
        payload_hash = sha256(convert_to(coalesce(the_payload, payload), 'UTF8')),
        errors = gaia.with_error(errors, jsonb_build_object('kind', 'replayed', 'code', 'replayed', 'message',
            'an operator has it run again' || case when the_payload is null then '' else ', with another payload' end,
            'attempt', attempt, 'worker', '', 'at', now()))
    where subsystem = the_subsystem and key = the_key;
    delete from gaia.dead where subsystem = the_subsystem and key = the_key;
    -- A wish of old to have it called off would end it.
    delete from gaia.cancellation where subsystem = the_subsystem and key = the_key;
    insert into gaia.agenda (subsystem, key, due_at, reason) values (the_subsystem, the_key, now(), 'answer')
    on conflict (subsystem, key) do update set due_at = now(), reason = 'answer', worker = null, epoch = null;
    perform pg_notify('gaia_agenda', '');
    return 'replayed';
end $$;

-- What rests: a type, a subsystem, or with '*' the whole fleet. Workers look at it when they start, when they hear of it,
-- and every few seconds.
create table gaia.pause (
    scope text primary key,
    reason text not null default '',
    since timestamptz not null default now()
);

-- A job of a type that rests is held here, since its queue is that of other types too.
alter table gaia.agenda drop constraint agenda_reason_check;
alter table gaia.agenda add constraint agenda_reason_check
    check (reason in ('scheduled', 'retry', 'recheck', 'answer', 'held'));
create index agenda_held on gaia.agenda (subsystem) where reason = 'held';

-- What a worker has of each subsystem: {"api": {"slots": 20, "busy": 3, "waiting": 0}}.
alter table gaia.worker add column load jsonb not null default '{}';
