-- How far running jobs are, each only while its token owns the job.
-- $1 subsystems, $2 keys, $3 tokens, $4 documents
update gaia.job j set progress = p.document::jsonb || jsonb_build_object('at', now())
from unnest($1::text[], $2::text[], $3::int8[], $4::text[]) as p (subsystem, key, token, document)
where j.subsystem = p.subsystem and j.key = p.key and j.token = p.token and j.state = 'running'
