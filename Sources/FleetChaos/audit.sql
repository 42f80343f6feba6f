-- What happens in the ledger, written down by the database itself in the very transaction that does it: the harness reads it
-- afterwards, and nothing of the fleet knows of it.
create schema chaos;

create table chaos.transition (
    number bigint generated always as identity primary key,
    at timestamptz not null,
    subsystem text not null,
    key text not null,
    old_state text,
    new_state text not null,
    old_token bigint,
    new_token bigint not null,
    worker bigint,
    epoch integer,
    -- Whether the owner whose claim was taken over still had its epoch and its lease.
    stolen boolean not null,
    application text not null
);

create function chaos.note_transition() returns trigger language plpgsql as $$
begin
    insert into chaos.transition (
        at, subsystem, key, old_state, new_state, old_token, new_token, worker, epoch, stolen, application)
    values (
        clock_timestamp(), new.subsystem, new.key, old.state, new.state, old.token, new.token, new.worker, new.epoch,
        coalesce(
            old.state = 'running' and new.token > old.token and (old.worker, old.epoch) <> (new.worker, new.epoch)
                and exists (
                    select from gaia.worker w
                    where w.id = old.worker and w.epoch = old.epoch and w.state <> 'gone' and w.lease_until > now()),
            false),
        current_setting('application_name'));
    return null;
end $$;

create trigger chaos_insert after insert on gaia.job
for each row execute function chaos.note_transition();
create trigger chaos_update after update of state, token on gaia.job
for each row when (old.state <> new.state or old.token <> new.token)
execute function chaos.note_transition();

-- Writes by which a leader leads, made by a dispatcher that no longer led when it sent the statement.
create table chaos.stale_write (
    at timestamptz not null,
    what text not null,
    application text not null,
    leader text not null,
    term bigint not null
);

create function chaos.note_stale_write() returns trigger language plpgsql as $$
declare
    lead gaia.leader;
begin
    select * into lead from gaia.leader;
    if current_setting('application_name') like 'dispatcher%' and current_setting('application_name') <> lead.name
        and statement_timestamp() > lead.since then
        insert into chaos.stale_write values (
            clock_timestamp(), tg_op || ' of ' || tg_table_name, current_setting('application_name'), lead.name,
            lead.term);
    end if;
    return null;
end $$;

create trigger chaos_agenda after delete on gaia.agenda
for each row execute function chaos.note_stale_write();
create trigger chaos_worker after update of epoch on gaia.worker
for each row execute function chaos.note_stale_write();

-- What the harness itself writes, to see how long a commit takes.
create table chaos.probe (n integer);

-- Which process had which row of gaia.worker, also when the row has gone by the end.
create table chaos.crew (worker bigint primary key, name text not null, process integer not null);

create function chaos.note_crew() returns trigger language plpgsql as $$
begin
    insert into chaos.crew values (new.id, new.name, new.process_id) on conflict do nothing;
    return null;
end $$;

create trigger chaos_crew after insert on gaia.worker
for each row execute function chaos.note_crew();
