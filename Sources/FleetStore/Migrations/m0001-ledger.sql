-- The ledger: what happened to every job. Truth about work is here; the broker only holds what is still to be delivered.

-- One row per process, however many jobs it runs: renewing a lease is one update. An epoch is one life of a worker;
-- when it is raised, everything claimed under the old one may be taken over.
create table gaia.worker (
    id bigint generated always as identity primary key,
    name text not null,
    host text not null,
    process_id integer not null,
    version text not null,
    subsystems text[] not null,
    slots integer not null,
    busy integer not null default 0,
    epoch integer not null default 1,
    state text not null default 'live' check (state in ('live', 'draining', 'gone')),
    lease_until timestamptz not null,
    started_at timestamptz not null default now(),
    renewed_at timestamptz not null default now(),
    gone_at timestamptz
);
create index worker_present on gaia.worker (id) where state <> 'gone';

-- State and claim change with every attempt, so no index holds them: with the free space of the fill factor an update
-- stays on its page. What must be found by time stands in the agenda instead.
create table gaia.job (
    subsystem text not null,
    key text not null,
    type text not null,
    state text not null check (state in
        ('scheduled', 'queued', 'running', 'retrying', 'succeeded', 'discarded', 'cancelled', 'indeterminate')),
    attempt integer not null default 0,
    -- 0 until the first claim when the producer left it to the type.
    attempts_max integer not null,
    -- The fencing token: rises with each claim, computed from the row and never from what a claimer sends.
    token bigint not null default 0,
    worker bigint,
    epoch integer,
    -- The canonical text of the payload, and what a repeat is compared by.
    payload text not null,
    payload_hash bytea not null,
    reply_to text,
    correlation_id text,
    subject text,
    traceparent text,
    producer text,
    created_at timestamptz not null default now(),
    not_before timestamptz,
    deadline_at timestamptz,
    claimed_at timestamptz,
    finished_at timestamptz,
    output text,
    -- Every failed attempt: kind, code, message, attempt, worker, time.
    errors jsonb not null default '[]',
    primary key (subsystem, key)
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- Deliveries owed: a job that stands here is published (again) when its time has come. A row is small and short-lived.
create table gaia.agenda (
    subsystem text not null,
    key text not null,
    due_at timestamptz not null,
    reason text not null check (reason in ('scheduled', 'retry', 'recheck')),
    -- For a recheck: whose claim it waits on. When that epoch ends the row is due at once.
    worker bigint,
    epoch integer,
    primary key (subsystem, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
create index agenda_due on gaia.agenda (due_at);
create index agenda_worker on gaia.agenda (worker) where worker is not null;

-- Whom else to answer when a running job ends: repeats that arrived meanwhile.
create table gaia.waiter (
    subsystem text not null,
    key text not null,
    reply_to text not null,
    correlation_id text not null,
    created_at timestamptz not null default now(),
    primary key (subsystem, key, reply_to, correlation_id)
);

-- One row. The term rises with each new leader and stands in each of its writes.
create table gaia.leader (
    only_row boolean primary key default true check (only_row),
    term bigint not null,
    name text not null,
    since timestamptz not null default now()
);
