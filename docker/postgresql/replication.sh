#!/usr/bin/env bash
# On the first start of a primary that has a standby: who may copy it, and that a commit waits for the copy.
set -euo pipefail

psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --dbname gaia <<'SQL'
\set password `cat /run/secrets/database-replicator`
set log_statement = 'none';
create role gaia_replicator login replication password :'password';
-- From the next start on, which is the first that clients see.
alter system set synchronous_standby_names = '*';
SQL
