"""What users with least rights must be refused, and that nobody comes in without TLS or password."""
import contextlib

import pika
import pika.exceptions

from .client import connect
from .system import Failure, System, say

# By what each refusal is known.
NOT_LET_IN = (pika.exceptions.ProbableAuthenticationError, pika.exceptions.ConnectionClosedByBroker)
NOT_UNDERSTOOD = pika.exceptions.AMQPConnectionError
NOT_ALLOWED = pika.exceptions.ChannelClosedByBroker
ACCESS_REFUSED = 403


def must_be_refused(what: str, how, attempt) -> None:
    try:
        attempt()
    except how as refusal:
        code = getattr(refusal, "reply_code", ACCESS_REFUSED)
        if how is NOT_ALLOWED and code != ACCESS_REFUSED:
            raise Failure(f"{what} was refused for another reason: {refusal}") from refusal
        return
    raise Failure(f"{what} was not refused")


def check_broker(system: System) -> None:
    port = system.ports[0]

    def as_producer(body):
        def attempt():
            with contextlib.closing(connect(system, "gaia-producer", port)) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                body(channel)
        return attempt

    # That one is let in at all, or the refusals would tell nothing.
    connect(system, "gaia-producer", port).close()
    must_be_refused("a wrong password", NOT_LET_IN, lambda: connect(system, "gaia-producer", port, password="wrong"))
    credentials = pika.PlainCredentials("gaia-producer", system.secret("amqp-producer"))
    must_be_refused(
        "a client without TLS", NOT_UNDERSTOOD, lambda: pika.BlockingConnection(
            pika.ConnectionParameters("localhost", port, "gaia", credentials, stack_timeout=5)))
    for what, body in [
        ("a producer that declares a queue of jobs", lambda channel: channel.queue_declare("gaia.jobs.mine")),
        ("a producer that reads jobs", lambda channel: channel.basic_get("gaia.jobs.gaia")),
        ("a producer that purges dead letters", lambda channel: channel.queue_purge("gaia.dead")),
        ("a producer that publishes results", lambda channel: channel.basic_publish("gaia.results", "x", b"{}")),
    ]:
        must_be_refused(what, NOT_ALLOWED, as_producer(body))
    say("the broker refuses a wrong password, a client without TLS, and four things that a producer may not do")


def check_database(system: System, service: str) -> None:
    def attempt(role: str, statement: str, tls: str = "verify-full") -> bool:
        """Whether the role may do it. The password goes by the command's input, and is in no list of processes."""
        script = (
            f'read -r PGPASSWORD; export PGPASSWORD; '
            f'psql -X -q -v ON_ERROR_STOP=1 "host={service} dbname=gaia user=gaia_{role} sslmode={tls} '
            f'sslrootcert=/run/secrets/ca.pem" -c "{statement}"')
        try:
            system.inside(service, "bash", "-c", script, input=system.secret(f"database-{role}") + "\n")
            return True
        except Failure:
            return False

    allowed = [("worker", "select 1 from gaia.job limit 1"), ("monitor", "select 1 from gaia.job limit 1")]
    refused = [
        ("worker", "create table gaia.mine (x int)", "verify-full"),
        ("worker", "drop table gaia.job", "verify-full"),
        ("worker", "create table public.mine (x int)", "verify-full"),
        ("monitor", "delete from gaia.job", "verify-full"),
        ("worker", "select 1", "disable"),
    ]
    for role, statement in allowed:
        if not attempt(role, statement):
            raise Failure(f"gaia_{role} was refused: {statement}")
    for role, statement, tls in refused:
        if attempt(role, statement, tls):
            raise Failure(f"gaia_{role} was not refused: {statement} (TLS: {tls})")
    say("the database lets both roles read, and refuses DDL, the monitor's write and a client without TLS")
