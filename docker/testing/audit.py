"""The count: every job succeeded, its effect is there once, its result has one id."""
from collections import Counter

from .client import Client
from .system import Failure, System, say


def audit(system: System, client: Client, database: str) -> None:
    """`database` is the service to ask; its server must be the primary or have all that the primary had."""
    published = set(client.published)
    flaws: list[str] = []

    def check(what: str, wrong) -> None:
        if wrong:
            flaws.append(f"{what}: {len(wrong)}, such as {sorted(wrong)[:5]}")

    states = dict(system.sql(database, f"select key, state from gaia.job where key like '{client.run}-%'"))
    check("jobs that the ledger does not know", published - states.keys())
    check("jobs that did not succeed", {f"{key} ({state})" for key, state in states.items() if state != "succeeded"})

    check("jobs without a result", published - client.outcomes.keys())
    check("jobs with another outcome", {key for key, seen in client.outcomes.items() if seen != {"succeeded"}})
    check("jobs whose result came under several ids", {key for key, ids in client.ids.items() if len(ids) > 1})

    lines = Counter(system.inside("worker", "bash", "-c", f"cat /srv/files/{client.run}/*.log").splitlines())
    wanted = {key for number, key in enumerate(client.published) if client.appends(number)}
    check("lines that were not written", wanted - lines.keys())
    check("lines that were written more than once", {key for key, count in lines.items() if count > 1})
    # One that was under way when publishing ended may have reached the broker without its confirm being seen.
    last = f"{client.run}-{len(client.published)}"
    check("lines of jobs that nobody published", lines.keys() - wanted - {last})

    visits = sum(client.visits(number) for number in range(len(client.published)))
    if flaws:
        raise Failure("the count is off:\n  " + "\n  ".join(flaws))
    say(
        f"counted: {len(published)} jobs, all succeeded; {len(wanted)} lines in files, each once; {visits} pages visited; "
        f"{client.deliveries} results for {len(client.outcomes)} jobs, one id each; "
        f"the client connected anew {client.reconnections} times")
