"""Procrastinate with PostgreSQL, in a schema that the run makes and drops.

As it comes: 1 job at a time.

Tuned; tried on 2 cores: 1, 2, 4, 6, 8, 10 and 30 jobs at a time, 4, 6 and 9 database connections,
finished jobs kept and deleted. 1 job at a time took the most time per job, 10 and 30
took more than 4; keeping and deleting were alike, and so were the connections.
"""

import os
import sys
import time

import procrastinate
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from counters import count_job

URL = os.environ["PEER_DATABASE_URL"]
QUEUE = SCHEMA = os.environ["PEER_QUEUE"]
JOBS_AT_A_TIME = 4 if "PEER_TUNED" in os.environ else 1
DEFERRED_AT_A_TIME = 1000

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=make_conninfo(URL, options=f"-c search_path={SCHEMA}"))
)


@app.task(name="no_op", queue=QUEUE)
async def no_op():
    count_job()


def describe(processes):
    with psycopg.connect(URL) as connection:
        server, fsync, commit = (
            connection.execute(f"show {setting}").fetchone()[0]
            for setting in ("server_version", "fsync", "synchronous_commit")
        )
    return {
        "version": procrastinate.__version__,
        "broker": f"PostgreSQL {server.split()[0]}, fsync {fsync}, synchronous_commit {commit}",
        "settings": f"{processes} processes × {JOBS_AT_A_TIME} asynchronous jobs, deferred in batches of "
        f"{DEFERRED_AT_A_TIME}, finished jobs deleted",
        "keeps": "at least once if the application retries the jobs of dead workers, no deduplication, no results",
    }


def publish(jobs):
    run_sql("create schema {}")
    with app.open():
        app.schema_manager.apply_schema()
        start = time.perf_counter()
        for first in range(0, jobs, DEFERRED_AT_A_TIME):
            no_op.batch_defer(*[{}] * min(DEFERRED_AT_A_TIME, jobs - first))
        return time.perf_counter() - start


def worker_commands(processes):
    program = [sys.executable, "-m", "procrastinate", "--app", "procrastinate_app.app", "--log-level", "warning"]
    options = ["--queues", QUEUE, "--concurrency", str(JOBS_AT_A_TIME), "--delete-jobs", "successful"]
    return [[*program, "worker", *options]] * processes


def clean_up():
    run_sql("drop schema if exists {} cascade")


def run_sql(statement):
    with psycopg.connect(URL) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(SCHEMA)))
