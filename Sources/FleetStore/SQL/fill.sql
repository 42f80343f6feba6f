-- Finished jobs as a busy fortnight leaves them, for measuring: under keys that come in no order.
-- $1 from, $2 to
insert into gaia.job (
    subsystem, key, type, state, attempt, attempts_max, token, payload, payload_hash, created_at, claimed_at, finished_at,
    output)
select 'gaia', md5(n::text), 'gaia.noop.v1', 'succeeded', 1, 10, 1, '{}', sha256('{}'), t, t, t, 'null'
from (select n, now() - random() * interval '14 days' as t from generate_series($1::int8, $2::int8) n) s
