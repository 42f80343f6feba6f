#!/usr/bin/env bash
# Runs a command while it holds one of the fleet's locks, with nothing but psql.
#
#     with-lock.sh NAME COMMAND [ARGS]      GAIA_DATABASE_URL says where the database is
#
# The command finds its fencing token in GAIA_LOCK_TOKEN. It is ended when the lock is lost. Exit status: the command's
# own; 75 when the lock was not had within a minute.
set -euo pipefail

name=$1
shift
ask() { psql "$GAIA_DATABASE_URL" --no-psqlrc --quiet --tuples-only --no-align -v ON_ERROR_STOP=1 -v name="$name" "$@"; }

# In line, in the order of the numbers drawn; ours becomes the token.
number=$(ask -v holder="$(hostname) $$" <<'SQL'
select gaia.lock_queue(:'name', :'holder', interval '30 seconds', interval '1 minute');
SQL
)
trap 'ask -v number="$number" <<<"select gaia.lock_release(:'\''name'\'', :number);" >/dev/null' EXIT
until turn=$(ask -v number="$number" <<<"select gaia.lock_turn(:'name', :number);" 2>/dev/null) && [[ $turn == t ]]; do
    [[ ${turn-} == f ]] || exit 75
    sleep 0.5
done

GAIA_LOCK_TOKEN=$number "$@" &
command=$!
# A third of the lease is left for an answer that is late, and another for one that is lost.
while sleep 10; do
    renewed=$(ask -v number="$number" <<<"select gaia.lock_renew(:'name', :number, interval '30 seconds');") || true
    [[ $renewed == t ]] || kill "$command"
done >/dev/null 2>&1 &
renewal=$!
status=0
wait "$command" || status=$?
kill "$renewal"
exit "$status"
