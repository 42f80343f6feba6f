"""A producer in another language, which knows nothing of the fleet but its message contract."""
import json
import random
import ssl
import threading
import time

import pika
import pika.exceptions

from .system import Failure, System

# What it does when a broker refuses or is lost: it waits so long, and goes to another.
PAUSE_SECONDS = 0.5
LOST = (pika.exceptions.AMQPError, OSError)


def connect(system: System, user: str, port: int, password: str | None = None) -> pika.BlockingConnection:
    """By TLS, with the server's certificate checked."""
    context = ssl.create_default_context(cafile=system.secrets / "ca.pem")
    secret = password or system.secret("amqp-" + user.removeprefix("gaia-"))
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            "localhost", port, "gaia", pika.PlainCredentials(user, secret), heartbeat=10, socket_timeout=5,
            blocked_connection_timeout=20, stack_timeout=10, ssl_options=pika.SSLOptions(context, "localhost")))


class Client:
    """Publishes jobs until told to stop, each until the broker has confirmed it, and gathers their results."""

    def __init__(self, system: System, ports: list[int], run: str, files: int = 8):
        self.system, self.ports, self.run, self.files = system, ports, run, files
        self.queue = f"gaia.reply.{run}"
        # Keys that the broker has confirmed.
        self.published: list[str] = []
        # By key: the outcome, and the ids under which it came.
        self.outcomes: dict[str, set[str]] = {}
        self.ids: dict[str, set[str]] = {}
        self.deliveries = 0
        self.reconnections = 0
        self._stopping, self._enough = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._again, args=(role,), daemon=True) for role in (self._publish, self._consume)
        ]

    def __enter__(self):
        connection = connect(self.system, "gaia-producer", self.ports[0])
        # One that outlives its node, as the jobs do.
        connection.channel().queue_declare(self.queue, durable=True, arguments={"x-queue-type": "quorum"})
        connection.close()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._enough.set()
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=30)

    @staticmethod
    def appends(number: int) -> bool:
        """Every fourth job leaves a line in a file: an effect that can be counted."""
        return number % 4 == 0

    def visits(self, number: int) -> bool:
        """Every hundredth has a page visited, where there are browsers."""
        return self.system.has_browser and number % 100 == 1

    def job(self, number: int) -> tuple[str, str, dict]:
        key = f"{self.run}-{number}"
        if self.visits(number):
            return key, "browser.visit.v1", {"url": "http://dispatcher:8080/healthz", "want": ["text"]}
        if self.appends(number):
            path = f"data:{self.run}/{number % self.files}.log"
            return key, "file.append.v1", {"path": path, "content": f"{key}\n", "parents": True}
        # Of the key alone: the same key with another payload would be a conflict.
        return key, "gaia.noop.v1", {"ms": number * 37 % 100}

    def publish_until(self, count: int, seconds: float = 120) -> None:
        """Waits until so many jobs are confirmed in all."""
        self._await(lambda: len(self.published) >= count, seconds, lambda: f"{len(self.published)} of {count} jobs confirmed")

    def finish(self, seconds: float = 240) -> None:
        """Publishes no more, and waits for the results of all."""
        self._enough.set()
        self._threads[0].join(timeout=60)
        self._await(
            lambda: len(self.outcomes) >= len(self.published), seconds,
            lambda: f"{len(self.outcomes)} of {len(self.published)} results came, missing are "
            f"{[key for key in self.published if key not in self.outcomes][:5]}")

    def _await(self, condition, seconds: float, describe) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Failure(f"after {seconds:.0f} s: {describe()}")
            time.sleep(0.2)

    # Each role runs on a thread with a connection of its own, and begins anew when that is lost.

    def _again(self, role) -> None:
        turn = random.randrange(len(self.ports))
        while not self._stopping.is_set():
            turn += 1
            try:
                connection = connect(self.system, "gaia-producer", self.ports[turn % len(self.ports)])
                role(connection)
                connection.close()
                return
            except LOST:
                self.reconnections += 1
                self._stopping.wait(PAUSE_SECONDS)

    def _publish(self, connection) -> None:
        channel = connection.channel()
        channel.confirm_delivery()
        while not self._enough.is_set():
            key, job_type, payload = self.job(len(self.published))
            # Refused or lost on the way, it is published again under its key, which makes that harmless.
            channel.basic_publish(
                "gaia.jobs", job_type, json.dumps(payload), mandatory=True,
                properties=pika.BasicProperties(
                    type=job_type, message_id=key, correlation_id=key, reply_to=self.queue,
                    content_type="application/json", delivery_mode=2,
                    # Its page is one of those that are killed, and stay away for a while.
                    headers={"x-gaia-max-attempts": 20}))
            self.published.append(key)

    def _consume(self, connection) -> None:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=200)
        for method, properties, body in channel.consume(self.queue, inactivity_timeout=0.5):
            if self._stopping.is_set():
                return
            if method is None:
                continue
            event = json.loads(body)
            self.deliveries += 1
            self.outcomes.setdefault(properties.correlation_id, set()).add(event["data"]["outcome"])
            self.ids.setdefault(properties.correlation_id, set()).add(event["id"])
            channel.basic_ack(method.delivery_tag)
