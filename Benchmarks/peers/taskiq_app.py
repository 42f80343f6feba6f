"""Taskiq with RabbitMQ, through taskiq-aio-pika. Its worker takes uvloop when it is installed.

As it comes: prefetch 10, 100 jobs at a time.

Tuned; tried on 2 cores: prefetch 20 to 1000, 10 to 1000 jobs at a time, with and without
the parsing of parameters, acks when executed and when saved. A prefetch of 20 was
slower, all else alike. Publishing 100 at a time was about twice as fast as one by one.
"""

import asyncio
import os
import sys
import time

import aio_pika
import taskiq
import uvloop
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

from counters import count_job

URL = os.environ["PEER_AMQP_URL"]
QUEUE = os.environ["PEER_QUEUE"]
DEAD_LETTERS = f"{QUEUE}_dead"
PREFETCH = 300 if "PEER_TUNED" in os.environ else 10
JOBS_AT_A_TIME = 100
PUBLISHED_AT_A_TIME = 100

queues = {"task_queues": [Queue(name=QUEUE)], "dead_letter_queue": Queue(name=DEAD_LETTERS)}
broker = AioPikaBroker(URL, qos=PREFETCH, exchange=Exchange(name=QUEUE), **queues)


@broker.task(task_name="no_op")
async def no_op():
    count_job()


def describe(processes):
    return {
        "version": taskiq.__version__,
        "broker": f"RabbitMQ {asyncio.run(rabbitmq_version())}, quorum queue",
        "settings": f"{processes} processes × {JOBS_AT_A_TIME} asynchronous jobs, "
        f"uvloop {uvloop.__version__}, acks after the job, "
        f"prefetch {PREFETCH}, persistent messages, publishes confirmed, {PUBLISHED_AT_A_TIME} at a time",
        "keeps": "at least once, no deduplication, no results, failed jobs not retried",
    }


async def rabbitmq_version():
    async with await aio_pika.connect(URL) as connection:
        return connection.transport.connection.server_properties["version"]


def publish(jobs):
    return asyncio.run(publish_in_parts(jobs))


async def publish_in_parts(jobs):
    await broker.startup()
    start = time.perf_counter()
    for first in range(0, jobs, PUBLISHED_AT_A_TIME):
        part = range(first, min(first + PUBLISHED_AT_A_TIME, jobs))
        await asyncio.gather(*(no_op.kiq() for _ in part))
    seconds = time.perf_counter() - start
    await broker.shutdown()
    return seconds


def worker_commands(processes):
    program = [sys.executable, "-m", "taskiq", "worker", "taskiq_app:broker", "--log-level", "WARNING"]
    limits = ["--max-async-tasks", str(JOBS_AT_A_TIME), "--max-prefetch", str(max(PREFETCH - JOBS_AT_A_TIME, 0))]
    return [[*program, *limits, "--workers", str(processes)]]


def clean_up():
    asyncio.run(delete_queues())


async def delete_queues():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        await channel.queue_delete(QUEUE)
        await channel.queue_delete(DEAD_LETTERS)
        await channel.exchange_delete(QUEUE)
