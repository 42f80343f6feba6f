-- Queues of jobs that were lost, and when last. What a worker still had in hand of such a queue has no message any more that
-- would come again when the worker dies, and some of it the ledger did not know yet when the loss was seen to.
create table gaia.lost_queue (
    subsystem text not null,
    urgent boolean not null,
    at timestamptz not null default now(),
    primary key (subsystem, urgent)
);

-- Epochs that ended with such a queue in hand, perhaps: their workers were there before it was lost, less than a day ago.
create table gaia.lost_hand (
    worker bigint not null,
    epoch integer not null,
    subsystem text not null,
    urgent boolean not null,
    -- It did not end by itself, and may have completed jobs without telling of it.
    silent boolean not null,
    at timestamptz not null default now(),
    primary key (worker, epoch, subsystem, urgent)
);

-- By whomever an epoch is ended, it is noted in the same transaction. What it had in hand is looked for afterwards, since that
-- reads the whole ledger of the queue.
create function gaia.note_lost_hand() returns trigger
language plpgsql as $$
begin
    insert into gaia.lost_hand (worker, epoch, subsystem, urgent, silent)
    select old.id, old.epoch, l.subsystem, l.urgent, new.state = 'gone' and new.lease_until = old.lease_until
    from gaia.lost_queue l
    where l.at > now() - interval '1 day' and old.started_at < l.at
    on conflict do nothing;
    return null;
end
$$;
create trigger worker_lost_queues after update of epoch on gaia.worker
for each row when (old.epoch <> new.epoch) execute function gaia.note_lost_hand();

revoke execute on function gaia.note_lost_hand from public;
