#!/usr/bin/env bash
# On the first start: the fleet's settings, and its roles with the passwords that the secrets hold.
set -euo pipefail

echo "include = '/gaia/postgresql.conf'" >>"$PGDATA/postgresql.conf"

as_superuser() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --dbname gaia "$@"; }

as_superuser --file /gaia/roles.sql

# Read by psql and quoted by it, so that no password stands in a command line or in the log.
for role in owner worker dispatcher operator monitor; do
    as_superuser <<SQL
\\set password \`cat /run/secrets/database-$role\`
set log_statement = 'none';
alter role gaia_$role password :'password';
SQL
done
