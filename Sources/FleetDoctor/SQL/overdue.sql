-- Deliveries that are due, and for how long the first has been.
select count(*) as deliveries, coalesce(extract(epoch from now() - min(due_at)), 0)::float8 as oldest_s
from gaia.agenda where due_at <= now()
