"""Celery with RabbitMQ.

As it comes: one worker whose pool has as many children as there are processes to be.

Tuned; tried on 2 cores: the prefork pool with 2 children, 2 × prefork with 1 child,
2 × threads with 1 thread and 2 × solo. Solo took the least time per job, prefork
up to twice as much, because it passes each job on to a child through a pipe.
Of prefetch 20, 100, 200, 600 and 2000 only 20 was clearly slower.
"""

import os
import sys
import time

import celery
from celery.worker.consumer.delayed_delivery import DelayedDelivery

from counters import count_job

QUEUE = os.environ["PEER_QUEUE"]
TUNED = "PEER_TUNED" in os.environ
POOL = "solo" if TUNED else "prefork"
# For each process of a pool. 4 is Celery's own.
PREFETCH = 300 if TUNED else 4

app = celery.Celery("peers", broker=os.environ["PEER_AMQP_URL"])
app.conf.update(task_default_queue=QUEUE, task_default_queue_type="quorum", task_ignore_result=True)
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
app.conf.update(broker_transport_options={"confirm_publish": True})
app.conf.update(worker_prefetch_multiplier=PREFETCH, worker_enable_remote_control=False)
# No job here has an ETA, so the workers need not leave 28 queues for such jobs behind.
DelayedDelivery.include_if = lambda step, consumer: False


@app.task(name="no_op")
def no_op():
    count_job()


def describe(processes):
    with app.connection_for_read() as connection:
        rabbitmq = connection.connection.server_properties["version"]
    return {
        "version": celery.__version__,
        "broker": f"RabbitMQ {rabbitmq}, quorum queue",
        "settings": f"{processes} processes, {POOL} pool, acks late, prefetch {PREFETCH} each, persistent messages, "
        "each publish confirmed, no gossip, mingle, events or remote control",
        "keeps": "at least once, no deduplication, no results, failed jobs not retried",
    }


def publish(jobs):
    with app.producer_pool.acquire() as producer:
        start = time.perf_counter()
        for _ in range(jobs):
            no_op.apply_async(producer=producer)
        return time.perf_counter() - start


def worker_commands(processes):
    program = [sys.executable, "-m", "celery", "--app", "celery_app", "worker", "--loglevel", "WARNING"]
    workers, children = (processes, 1) if TUNED else (1, processes)
    options = ["--pool", POOL, "--concurrency", str(children)]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [[*program, *options, "--hostname", f"{QUEUE}_{number}@localhost"] for number in range(workers)]


def clean_up():
    with app.connection_for_write() as connection:
        channel = connection.channel()
        channel.queue_delete(QUEUE)
        channel.exchange_delete(QUEUE)
