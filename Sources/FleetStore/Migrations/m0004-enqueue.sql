-- Jobs from other services' own transactions, and jobs by the clock.

-- A payload that came by SQL has no hash until the dispatcher has brought it into canonical form; until then nobody
-- claims the job.
alter table gaia.job alter column payload_hash drop not null;

-- Gives a job to the fleet in the caller's transaction: it is published after the commit, and never was if that is
-- rolled back.
--   select gaia.enqueue('api.request.v1', '{"url": "http://…"}', 'order-17');
--   select gaia.enqueue('api.request.v1', '{"url": "http://…"}', 'order-18', delay => interval '5 minutes');
-- Answers: scheduled, or duplicate when the same job is there already. Another job under the same key is a
-- unique_violation (23505); a malformed type or key is an invalid_parameter_value (22023).
create function gaia.enqueue(
    type text, payload jsonb, key text, delay interval default '0', reply_to text default null,
    correlation_id text default null, subject text default null, max_attempts integer default 0,
    deadline interval default null, backoff text default null, urgent boolean default false
) returns text
language plpgsql as $$
#variable_conflict use_variable
declare
    the_subsystem text := split_part(type, '.', 1);
    made boolean;
    standing gaia.job;
begin
    if type !~ '^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*\.v[0-9]+$' or octet_length(type) > 120
        or octet_length(the_subsystem) > 40 or the_subsystem = 'urgent' then
        raise exception '''%'' is no job type', type using errcode = 'invalid_parameter_value',
            hint = 'write it as SUBSYSTEM.NAME.vN in lower-case letters, digits and hyphens, as in api.request.v1';
    end if;
    if key is null or octet_length(key) not between 1 and 200 or key ~ '[\x01-\x1f\x7f]' then
        raise exception 'the idempotency key must be 1 to 200 bytes of printable text'
            using errcode = 'invalid_parameter_value', hint = 'hash a longer one';
    end if;
    if payload is null or jsonb_typeof(payload) <> 'object' then
        raise exception 'the payload of a job is a JSON object' using errcode = 'invalid_parameter_value';
    end if;
    if max_attempts not between 0 and 1000 or delay < interval '0' or deadline <= interval '0' then
        raise exception 'max_attempts must be 0 (the type''s own) to 1000, a delay not negative, a deadline positive'
            using errcode = 'invalid_parameter_value';
    end if;
    if backoff !~ '^(fixed( [0-9]{1,9}(ms|s|m|h|d))|(exponential|linear)( [0-9]{1,9}(ms|s|m|h|d)){2}|schedule( [0-9]{1,9}(ms|s|m|h|d)){1,50})$' then
        raise exception '''%'' is no backoff', backoff using errcode = 'invalid_parameter_value',
            hint = 'write it as in exponential 1s 10m, linear 30s 10m, fixed 5s, or schedule 1s 30s 5m';
    end if;
    insert into gaia.job (
        subsystem, key, type, state, attempts_max, payload, payload_hash, reply_to, correlation_id, subject, producer,
        not_before, deadline_at, backoff, urgent)
    values (
        the_subsystem, key, type, 'scheduled', max_attempts, payload::text, null, left(reply_to, 255),
        left(correlation_id, 255), left(subject, 255), 'sql', now() + delay, now() + delay + deadline, backoff, urgent)
    on conflict on constraint job_pkey do nothing
    returning true into made;
    if made then
        insert into gaia.agenda (subsystem, key, due_at, reason) values (the_subsystem, key, now() + delay, 'scheduled');
        if delay = interval '0' then
            perform pg_notify('gaia_agenda', '');
        end if;
        return 'scheduled';
    end if;
    select j.* into standing from gaia.job j where j.subsystem = the_subsystem and j.key = key;
    if standing.type = type and standing.payload::jsonb = payload then
        return 'duplicate';
    end if;
    raise exception 'the key ''%'' belongs to another job of %', key, the_subsystem using errcode = 'unique_violation',
        hint = 'give this job a key of its own';
end $$;

-- Jobs by the clock. Each tick makes one job, whose key names the schedule and the tick, so that it is made once
-- however many dispatchers there are.
create table gaia.cron (
    name text primary key,
    expression text not null,
    -- As in pg_timezone_names.
    zone text not null,
    type text not null,
    payload text not null,
    -- What to do with ticks that were missed while no dispatcher ran: none of them, the last one, or each.
    catch_up text not null default 'skip' check (catch_up in ('skip', 'last', 'all')),
    paused boolean not null default false,
    next_at timestamptz not null,
    last_at timestamptz,
    reply_to text,
    subject text,
    attempts_max integer not null default 0,
    created_at timestamptz not null default now()
);
create index cron_due on gaia.cron (next_at) where not paused;
