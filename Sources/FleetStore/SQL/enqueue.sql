-- $1 type, $2 payload, $3 key
select gaia.enqueue($1, $2::jsonb, $3) as answer
