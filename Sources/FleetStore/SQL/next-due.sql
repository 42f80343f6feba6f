-- How long until the agenda owes something; null when it is empty.
select (extract(epoch from min(due_at) - now()) * 1000)::int8 as wait_ms from gaia.agenda
