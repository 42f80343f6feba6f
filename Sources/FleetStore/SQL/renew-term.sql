-- The leader says that it is at work. No row: another leads. $1 term
update gaia.leader set renewed_at = now() where term = $1 returning term
