-- Payloads that came by SQL, in canonical form at last; or the end of a job whose payload has none.
-- $1 subsystems, $2 keys, $3 canonical payloads, $4 what is wrong instead; $5 term
update gaia.job j
set payload = coalesce(s.payload, j.payload),
    payload_hash = sha256(convert_to(coalesce(s.payload, j.payload), 'UTF8')),
    state = case when s.flaw is null then j.state else 'discarded' end,
    finished_at = case when s.flaw is null then null else now() end,
    errors = case when s.flaw is null then j.errors
        else j.errors || jsonb_build_object('kind', 'permanent', 'code', 'invalid-json', 'message', s.flaw,
            'attempt', 0, 'worker', '', 'at', now()) end
from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as s (subsystem, key, payload, flaw)
where j.subsystem = s.subsystem and j.key = s.key and j.payload_hash is null
  and exists (select from gaia.leader where term = $5)
