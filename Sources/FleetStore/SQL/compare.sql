-- What stands in the ledger under keys that were taken already: a repeat, or another job.
-- $1 subsystems, $2 keys, $3 types, $4 payloads
select j.subsystem, j.key, j.state,
    -- One that came by SQL has no hash until it is sealed.
    j.type = w.type and coalesce(
        j.payload_hash = sha256(convert_to(w.payload, 'UTF8')), j.payload::jsonb = w.payload::jsonb) as same
from gaia.job j
join unnest($1::text[], $2::text[], $3::text[], $4::text[]) as w (subsystem, key, type, payload)
  on j.subsystem = w.subsystem and j.key = w.key
