-- What decides over a job besides its outcome: calling off, crashes of its workers, and handlers that must not be
-- repeated.
alter table gaia.job
    -- False when the effect must not be repeated: a lost worker makes the job indeterminate.
    add column repeatable boolean not null default true,
    -- How many workers were lost while they ran it.
    add column crashes smallint not null default 0,
    -- Whether this claim runs with nothing beside it, because of those crashes.
    add column alone boolean not null default false,
    -- How far it is, as its handler says.
    add column progress jsonb,
    -- The producer's own backoff, in text form.
    add column backoff text,
    add column urgent boolean not null default false;

-- Who asked for a job to be called off. A row is looked at by each claim of that key, so one that comes before its job
-- calls it off on arrival.
create table gaia.cancellation (
    subsystem text not null,
    key text not null,
    requested_at timestamptz not null default now(),
    reason text not null,
    primary key (subsystem, key)
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
create index cancellation_recent on gaia.cancellation (requested_at);

-- A job's errors with one more. Of many the first and the last are kept: some jobs fail without end, as one that is
-- throttled every minute does, and each write copies them all.
create function gaia.with_error(errors jsonb, error jsonb) returns jsonb
language sql immutable as $$
    select case when jsonb_array_length(errors) < 50 then errors || error else (errors - 1) || error end
$$;

-- A result that nobody's delivery stands for any more is owed like any delivery: a worker finds the job finished and
-- publishes what is stored.
alter table gaia.agenda drop constraint agenda_reason_check;
alter table gaia.agenda add constraint agenda_reason_check
    check (reason in ('scheduled', 'retry', 'recheck', 'answer'));

-- Calls a job off, wherever it is. For other services too, in their own transactions.
--   select gaia.cancel('api', 'order-17', 'the customer left');
-- Answers: cancelled (it had not begun), requested (it runs; its handler is told), noted (no such job yet; it will be
-- cancelled if it comes within a week), or finished (too late).
create function gaia.cancel(the_subsystem text, the_key text, the_reason text default 'called off') returns text
language plpgsql as $$
declare
    found_state text;
begin
    select state into found_state from gaia.job
    where subsystem = the_subsystem and key = the_key for no key update;
    if found_state in ('succeeded', 'discarded', 'cancelled', 'indeterminate') then
        return 'finished';
    end if;
    insert into gaia.cancellation (subsystem, key, reason) values (the_subsystem, the_key, left(the_reason, 500))
    on conflict (subsystem, key) do nothing;
    if found_state is null or found_state = 'running' then
        -- Also when there is none yet: it may be claimed at this very moment, by a statement that does not see this one.
        perform pg_notify('gaia_control', '');
        return case when found_state is null then 'noted' else 'requested' end;
    end if;
    update gaia.job
    set state = 'cancelled', token = token + 1, not_before = null, finished_at = now(),
        errors = gaia.with_error(errors, jsonb_build_object('kind', 'cancelled', 'code', 'cancelled', 'message',
            left(the_reason, 500), 'attempt', attempt, 'worker', '', 'at', now()))
    where subsystem = the_subsystem and key = the_key;
    insert into gaia.agenda (subsystem, key, due_at, reason) values (the_subsystem, the_key, now(), 'answer')
    on conflict (subsystem, key) do update set due_at = now(), reason = 'answer', worker = null, epoch = null;
    perform pg_notify('gaia_agenda', '');
    return 'cancelled';
end $$;

-- What a claim makes of a row: normally it runs. `wanted` is what the claimer would write: 'cancelled' for a job that
-- was called off.
create function gaia.claimed_state(j gaia.job, wanted text, me bigint, my_epoch integer) returns text
language sql stable as $$
    select case
        when wanted = 'cancelled' then 'cancelled'
        when j.state <> 'running' or (j.worker = me and j.epoch = my_epoch) then 'running'
        when not j.repeatable then 'indeterminate'
        when j.alone then 'discarded'
        else 'running'
    end
$$;

-- The note in a job's errors of an end or a loss that no handler reported.
create function gaia.error_of(
    the_subsystem text, the_key text, becomes text, the_attempt integer, lost_worker bigint) returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'kind', case becomes
            when 'cancelled' then 'cancelled' when 'indeterminate' then 'unsafe'
            when 'discarded' then 'permanent' else 'transient' end,
        'code', case becomes
            when 'cancelled' then 'cancelled' when 'discarded' then 'poison' else 'worker-lost' end,
        'message', case becomes
            when 'cancelled' then coalesce(
                (select c.reason from gaia.cancellation c where c.subsystem = the_subsystem and c.key = the_key),
                'called off')
            when 'indeterminate' then
                'its worker was lost half way and its effect must not be repeated; gaia job resolve decides'
            when 'discarded' then
                'its worker was lost three times, the last time while it ran nothing else'
            else 'its worker was lost while it ran' end,
        'attempt', the_attempt,
        'worker', coalesce((select w.name from gaia.worker w where w.id = lost_worker), ''),
        'at', now())
$$;

-- A job whose worker was lost half way, and which nobody dared to repeat, as an operator decides: it has succeeded
-- (with this output), it has failed, or it shall run again.
create function gaia.resolve(
    the_subsystem text, the_key text, decision text, the_output text default null, the_reason text default ''
) returns text
language plpgsql as $$
declare
    found_state text;
begin
    if decision not in ('succeeded', 'discarded', 'retry') then
        raise exception 'a job is resolved as succeeded, discarded or retry, not as %', decision
            using errcode = 'invalid_parameter_value';
    end if;
    select state into found_state from gaia.job
    where subsystem = the_subsystem and key = the_key for no key update;
    if found_state is distinct from 'indeterminate' then
        return coalesce(found_state, 'unknown');
    end if;
    update gaia.job
    set state = case decision when 'retry' then 'queued' else decision end,
        token = token + 1,
        crashes = 0,
        -- The attempt that is run again on an operator's word was not the job's own failure.
        attempts_max = case decision when 'retry' then greatest(attempts_max, attempt + 1) else attempts_max end,
        output = case decision when 'succeeded' then coalesce(the_output, 'null') end,
        finished_at = case decision when 'retry' then null else now() end,
        errors = gaia.with_error(errors, jsonb_build_object('kind', 'resolved', 'code', 'resolved', 'message',
            left('an operator decided: ' || decision || case when the_reason = '' then '' else ', ' || the_reason end, 500),
            'attempt', attempt, 'worker', '', 'at', now()))
    where subsystem = the_subsystem and key = the_key;
    if decision = 'retry' then
        -- A wish of old to have it called off would end it.
        delete from gaia.cancellation where subsystem = the_subsystem and key = the_key;
    end if;
    insert into gaia.agenda (subsystem, key, due_at, reason) values (the_subsystem, the_key, now(), 'answer')
    on conflict (subsystem, key) do update set due_at = now(), reason = 'answer', worker = null, epoch = null;
    perform pg_notify('gaia_agenda', '');
    return 'resolved';
end $$;
