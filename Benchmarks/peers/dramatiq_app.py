"""Dramatiq with RabbitMQ.

It has no setting for quorum queues, so the queue is a durable classic one.
As it comes: 8 threads, prefetch 2 × threads.

Tuned; tried on 2 cores: 1, 2, 4 and 8 threads a process, prefetch 16,
10, 100, 300 and 1000. 4 threads took the least time per job by a little; a prefetch
below 100 took up to twice as much, one above 300 won little.
"""

import os
import sys
import time

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from counters import count_job

QUEUE = os.environ["PEER_QUEUE"]
TUNED = "PEER_TUNED" in os.environ
THREADS, PREFETCH = (4, 300) if TUNED else (8, 16)

broker = RabbitmqBroker(url=os.environ["PEER_AMQP_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=QUEUE)
def no_op():
    count_job()


def describe(processes):
    rabbitmq = broker.connection._impl.server_properties["version"]
    return {
        "version": dramatiq.__version__,
        "broker": f"RabbitMQ {rabbitmq}, durable classic queue",
        "settings": f"{processes} processes × {THREADS} threads, acks after the job, prefetch {PREFETCH}, "
        "persistent messages, each publish confirmed",
        "keeps": "at least once, no deduplication, no results, failed jobs retried, then in a dead-letter queue",
    }


def publish(jobs):
    broker.declare_queue(QUEUE, ensure=True)
    start = time.perf_counter()
    for _ in range(jobs):
        no_op.send()
    seconds = time.perf_counter() - start
    # Nobody answers heartbeats on it until the run ends.
    del broker.connection
    return seconds


def worker_commands(processes):
    # Dramatiq takes its prefetch from the environment only.
    os.environ["dramatiq_queue_prefetch"] = str(PREFETCH)
    options = ["--processes", str(processes), "--threads", str(THREADS)]
    return [[sys.executable, "-m", "dramatiq", "dramatiq_app", *options]]


def clean_up():
    for queue in (QUEUE, f"{QUEUE}.DQ", f"{QUEUE}.XQ"):
        broker.channel.queue_delete(queue)
    broker.close()
