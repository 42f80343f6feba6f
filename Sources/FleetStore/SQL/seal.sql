-- Payloads that came by SQL, in canonical form at last; or the end of a job that cannot be run as it was given, which
-- comes back without a payload.
-- $1 subsystems, $2 keys, $3 canonical payloads, $4 code and $5 text of what is wrong instead; $6 term
update gaia.job j
set payload = coalesce(s.payload, j.payload),
    payload_hash = sha256(convert_to(coalesce(s.payload, j.payload), 'UTF8')),
    backoff = case when s.code is null then j.backoff end,
    state = case when s.code is null then j.state else 'discarded' end,
    not_before = case when s.code is null then j.not_before end,
    finished_at = case when s.code is null then null else now() end,
    errors = case when s.code is null then j.errors
        else gaia.with_error(j.errors, jsonb_build_object('kind', 'permanent', 'code', s.code, 'message', s.flaw,
            'attempt', 0, 'worker', '', 'at', now())) end
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as s (subsystem, key, payload, code, flaw)
where j.subsystem = s.subsystem and j.key = s.key and j.payload_hash is null
  and exists (select from gaia.leader where term = $6)
returning j.subsystem, j.key, case when s.code is null then j.payload end as payload
