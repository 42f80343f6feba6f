-- The leader's lock falls free when its session ends. A leader that hangs, or whose machine is cut off, keeps its session
-- for as long as nobody looks; so it also has to renew its term.
alter table gaia.leader add column renewed_at timestamptz not null default now();
