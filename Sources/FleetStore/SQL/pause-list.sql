select scope, reason, since from gaia.pause order by scope
