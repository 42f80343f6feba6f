"""Celery with RabbitMQ."""

import os
import sys
import time

from celery import Celery, __version__

from counters import count_job

QUEUE = os.environ["PEER_QUEUE"]
PREFETCH = int(os.environ.get("X_PREFETCH", 100))

app = Celery("peers", broker=os.environ["PEER_AMQP_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    task_default_queue=QUEUE,
    task_default_queue_type="quorum",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=PREFETCH,
    worker_enable_remote_control=False,
)


@app.task(name="no_op")
def no_op():
    count_job()


def version():
    return __version__


def broker():
    with app.connection_for_read() as connection:
        connection.connect()
        return f"RabbitMQ {connection.connection.server_properties['version']}, quorum queue"


def publish(jobs):
    with app.producer_pool.acquire() as producer:
        start = time.perf_counter()
        for _ in range(jobs):
            no_op.apply_async(producer=producer)
        return time.perf_counter() - start


def worker_commands(processes):
    mode = os.environ.get("X_MODE", "nodes")
    common = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--loglevel", "WARNING",
         "--without-gossip", "--without-mingle", "--without-heartbeat"] + os.environ.get("X_OPTS","").split()
    if mode == "nodes":
        return [
            common + ["-c", "1", "--hostname", f"{QUEUE}-{number}@localhost"]
            for number in range(processes)
        ]
    if mode == "solo":
        return [
            common + ["-P", "solo", "--hostname", f"{QUEUE}-{number}@localhost"]
            for number in range(processes)
        ]
    return [common + ["-c", str(processes), "--hostname", f"{QUEUE}@localhost"]]


def settings(processes):
    return "?"

KEEPS = "?"


def clean_up():
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(QUEUE)
        connection.default_channel.exchange_delete(QUEUE)
