import os
import sys
import time
import procrastinate
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from counters import count_job

QUEUE = os.environ["PEER_QUEUE"]
DATABASE = os.environ["PEER_DATABASE_URL"]

app = procrastinate.App(connector=procrastinate.PsycopgConnector(
    conninfo=make_conninfo(DATABASE, options=f"-c search_path={QUEUE}")))


@app.task(name="no_op", queue=QUEUE)
async def no_op():
    count_job()


def version():
    return procrastinate.__version__

def broker():
    with psycopg.connect(DATABASE) as connection:
        v = connection.execute("show server_version").fetchone()[0]
        s = connection.execute("show synchronous_commit").fetchone()[0]
    return f"PostgreSQL {v}, synchronous_commit {s}"


def publish(jobs):
    with psycopg.connect(DATABASE) as connection:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(QUEUE)))
    with app.open():
        app.schema_manager.apply_schema()
        start = time.perf_counter()
        for first in range(0, jobs, 1000):
            no_op.batch_defer(*[{}] * min(1000, jobs - first))
        return time.perf_counter() - start


def worker_commands(processes):
    return [
        [sys.executable, "-m", "procrastinate", "--app", "procrastinate_app.app", "--log-level", "warning", "worker", "--queues", QUEUE]
          + os.environ.get("X_OPTS","--concurrency 10 --delete-jobs successful").split()
          for _ in range(processes)
    ]


def settings(processes):
    return "?"

KEEPS = "?"


def clean_up():
    with psycopg.connect(DATABASE) as connection:
        connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(QUEUE)))
