import os
import sys
import time

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from counters import count_job

QUEUE = os.environ["PEER_QUEUE"]

rabbitmq = RabbitmqBroker(url=os.environ["PEER_AMQP_URL"], confirm_delivery=True)
dramatiq.set_broker(rabbitmq)


@dramatiq.actor(queue_name=QUEUE)
def no_op():
    count_job()


def version():
    return dramatiq.__version__


def broker():
    properties = rabbitmq.connection._impl.server_properties
    return f"RabbitMQ {properties['version']}, durable classic queue"


def publish(jobs):
    rabbitmq.declare_queue(QUEUE, ensure=True)
    start = time.perf_counter()
    for _ in range(jobs):
        no_op.send()
    seconds = time.perf_counter() - start
    rabbitmq.close()
    return seconds


def worker_commands(processes):
    return [
        [sys.executable, "-m", "dramatiq", "dramatiq_app", "--processes", str(processes)] +
          os.environ.get("X_OPTS","--threads 1").split()
    ]


def settings(processes):
    return "?"

KEEPS = "?"


def clean_up():
    del rabbitmq.connection
    for queue in (QUEUE, f"{QUEUE}.DQ", f"{QUEUE}.XQ"):
        rabbitmq.channel.queue_delete(queue)
    rabbitmq.close()
