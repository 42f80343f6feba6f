-- $1 types, $2 codes, $3 messages
select gaia.fingerprint(type, code, message)
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as u (type, code, message, position)
order by position
