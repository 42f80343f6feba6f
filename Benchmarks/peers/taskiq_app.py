import asyncio
import os
import sys
import time
import taskiq
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue
import aio_pika
from counters import count_job

QUEUE = os.environ["PEER_QUEUE"]

rabbitmq = AioPikaBroker(
    os.environ["PEER_AMQP_URL"], qos=int(os.environ.get("X_QOS", 100)),
    exchange=Exchange(name=QUEUE), task_queues=[Queue(name=QUEUE)],
    dead_letter_queue=Queue(name=f"{QUEUE}.dead"),
)
BATCH=int(os.environ.get("X_BATCH", 100))

@rabbitmq.task(task_name="no_op")
async def no_op():
    count_job()


def version():
    return taskiq.__version__


def broker():
    return f"RabbitMQ, quorum queue"


def publish(jobs):
    return asyncio.run(_publish(jobs))


async def _publish(jobs):
    await rabbitmq.startup()
    start = time.perf_counter()
    for first in range(0, jobs, BATCH):
        await asyncio.gather(*(no_op.kiq() for _ in range(first, min(first + BATCH, jobs))))
    seconds = time.perf_counter() - start
    await rabbitmq.shutdown()
    return seconds


def worker_commands(processes):
    return [
        [sys.executable, "-m", "taskiq", "worker", "taskiq_app:rabbitmq", "--log-level", "WARNING", "--workers", str(processes)]
          + os.environ.get("X_OPTS","").split()
    ]


def settings(processes):
    return "?"

KEEPS = "?"


def clean_up():
    asyncio.run(_clean_up())

async def _clean_up():
    connection = await aio_pika.connect(os.environ["PEER_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        await channel.queue_delete(QUEUE)
        await channel.queue_delete(f"{QUEUE}.dead")
        await channel.exchange_delete(QUEUE)
