"""What users with least rights must be refused, and that nobody comes in without TLS or password."""
import contextlib
import ssl

import pika
import pika.exceptions

from .client import connect
from .system import Failure, System, say

# A server refuses by closing the channel or, when it is not let in, the connection.
REFUSED = (
    pika.exceptions.ChannelClosedByBroker, pika.exceptions.ProbableAuthenticationError,
    pika.exceptions.ProbableAccessDeniedError, pika.exceptions.AMQPConnectionError,
)


def must_be_refused(what: str, attempt) -> None:
    try:
        attempt()
    except REFUSED:
        return
    raise Failure(f"{what} was not refused")


def check_broker(system: System) -> None:
    def producer(body):
        def attempt():
            with contextlib.closing(connect(system, "gaia-producer", system.ports[0])) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                body(channel)
        return attempt

    must_be_refused("a wrong password", lambda: connect(system, "gaia-producer", system.ports[0], password="wrong"))
    must_be_refused("a client without TLS", lambda: pika.BlockingConnection(
        pika.ConnectionParameters(
            "localhost", system.ports[0], "gaia",
            pika.PlainCredentials("gaia-producer", system.secret("amqp-producer")), stack_timeout=5)))
    must_be_refused("a producer that declares a queue of jobs", producer(lambda c: c.queue_declare("gaia.jobs.mine")))
    must_be_refused("a producer that reads jobs", producer(lambda c: c.basic_get("gaia.jobs.gaia")))
    must_be_refused("a producer that purges dead letters", producer(lambda c: c.queue_purge("gaia.dead")))
    must_be_refused(
        "a producer that publishes results", producer(lambda c: c.basic_publish("gaia.results", "x", b"{}")))
    try:
        ssl.create_default_context().load_verify_locations(system.secrets / "ca.pem")
    except ssl.SSLError as error:
        raise Failure(f"ca.pem is no authority: {error}") from error
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
