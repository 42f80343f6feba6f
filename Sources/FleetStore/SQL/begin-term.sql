-- A new leader's time begins; whatever the one before it still writes matches no row.
-- $1 name
insert into gaia.leader as l (term, name) values (1, $1)
on conflict (only_row) do update set term = l.term + 1, name = excluded.name, since = now(), renewed_at = now()
returning term
