"""What is done to the system while jobs flow. The count at the end is the same for all."""
import json
import time
import uuid

from .audit import audit
from .client import Client
from .rights import check_broker, check_database
from .system import Failure, System, say, wait_until


def begin(system: System, *arguments: str) -> None:
    started = time.monotonic()
    system.up(*arguments)
    say(f"up and healthy in {time.monotonic() - started:.0f} s")


def run_name() -> str:
    return f"run-{uuid.uuid4().hex[:8]}"


def scale_under_load(system: System, client: Client, share: int) -> None:
    for count in (4, 1, 3):
        system.scale("worker", count)
        client.publish_until(len(client.published) + share)
        say(f"{count} workers; {len(client.published)} jobs published, {len(client.outcomes)} done")


def single(system: System, jobs: int) -> None:
    begin(system)
    check_broker(system)
    check_database(system, "postgres")
    with Client(system, system.ports[:1], run_name()) as client:
        client.publish_until(jobs // 4)
        scale_under_load(system, client, jobs // 8)
        for service in ("worker", "rabbitmq", "postgres", "dispatcher", "browser"):
            system.kill(service)
            say(f"{service} killed; {len(client.published)} jobs published, {len(client.outcomes)} done")
            system.bring_back(service)
            client.publish_until(len(client.published) + jobs // 16)
            say(f"{service} is back; {len(client.published)} jobs published, {len(client.outcomes)} done")
        client.publish_until(jobs)
        client.finish()
        audit(system, client, "postgres")
        doctor(system)


def doctor(system: System) -> None:
    """What the fleet says of itself after all that."""
    text = system.run("--profile", "doctor", "run", "--rm", "-T", "doctor")
    say("the doctor: " + " ".join(text.split())[-200:])


def cluster(system: System, jobs: int) -> None:
    begin(system, "--scale", "browser=0")
    members = json.loads(system.inside(
        "rabbitmq-1", "rabbitmq-queues", "quorum_status", "--vhost", "gaia", "gaia.jobs.gaia", "--formatter", "json"))
    if len(members) != 3:
        raise Failure(f"the queue gaia.jobs.gaia has {len(members)} members, not 3: {members}")
    say("the queues have a member on each of three nodes")
    check_database(system, "postgres-1")
    with Client(system, system.ports, run_name()) as client:
        client.publish_until(jobs // 4)
        scale_under_load(system, client, jobs // 8)
        lose_nodes(system, client, jobs // 16)
        primary_returns(system, client, jobs // 16)
        primary_is_replaced(system, client, jobs // 16)
        client.publish_until(jobs)
        client.finish()
        audit(system, client, "postgres-2")


def lose_nodes(system: System, client: Client, share: int) -> None:
    """One after the other, the first last: whichever leads a queue is among them."""
    for node in ("rabbitmq-2", "rabbitmq-3", "rabbitmq-1"):
        system.kill(node)
        client.publish_until(len(client.published) + share)
        say(f"without {node}: {len(client.published)} jobs published, {len(client.outcomes)} done")
        system.bring_back(node)
        say(f"{node} is back")


def primary_returns(system: System, client: Client, share: int) -> None:
    """Nobody is promoted: the fleet waits, and goes on."""
    system.kill("postgres-1")
    say(f"postgres-1, the primary, killed; {len(client.outcomes)} done")
    system.bring_back("postgres-1")
    done = len(client.outcomes)
    wait_until("results after the primary came back", lambda: len(client.outcomes) >= done + share)
    say(f"postgres-1 is back as the primary; {len(client.outcomes)} done")


def primary_is_replaced(system: System, client: Client, share: int) -> None:
    """An operator promotes the standby; what was the primary comes back as the other's standby."""
    system.kill("postgres-1")
    system.inside("postgres-2", "/gaia/promote")
    done = len(client.outcomes)
    wait_until("results from the promoted server", lambda: len(client.outcomes) >= done + share)
    say(f"postgres-2 is the primary now, alone; {len(client.outcomes)} done")
    system.bring_back("postgres-1")
    wait_until(
        "postgres-1 as a standby",
        lambda: system.sql("postgres-2", "select count(*) from pg_stat_replication where state = 'streaming'") == [["1"]])
    system.inside("postgres-2", "/gaia/promote", "--with-standby")
    done = len(client.outcomes)
    wait_until("results with the new standby", lambda: len(client.outcomes) >= done + share)
    say(f"postgres-1 is its standby, and commits wait for it; {len(client.outcomes)} done")
