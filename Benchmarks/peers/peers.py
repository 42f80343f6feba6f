"""Measures how many no-op jobs a second another job queue does on this machine.

    peers.py PEER --jobs N --processes 2 --directory DIR [--tuned] [--amqp-url URL] [--database-url URL]

A peer is set so that no job is lost when a worker ends in order, and otherwise as it
comes: its own kind of workers, its own prefetch. --tuned sets it as it was found to be
fastest with jobs that do nothing; with jobs that take time, one worker would then keep
hundreds from the others.

All jobs are published first; then the workers start, through the peer's own
command line program. "seconds" goes from the moment when 5 % of the jobs are
done to the moment when all are done, so the time that the workers need to boot
is left out, and "jobs_per_second" is 0.95 × N / seconds. A job is done when its
handler has run: the last few may still wait for their acknowledgement, so N
should be far larger than what the workers prefetch (20,000 or more).

One line of JSON goes to stdout, all else to stderr. Exit status: 0 when all jobs
were done, 69 when the peer is not installed, 70 for another failure,
128 + the number of the signal when interrupted.
"""

import argparse
import importlib
import json
import os
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True  # Nothing but sources in the directory of this program.

from counters import jobs_counted
from processes import STOP_SIGNALS, Processes

PEERS = ("celery", "dramatiq", "taskiq", "procrastinate", "sidekiq")
HERE = Path(__file__).resolve().parent
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 60


def main():
    parser = argparse.ArgumentParser(description="Measures no-op jobs a second of another job queue.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--amqp-url", default="")
    parser.add_argument("--database-url", default="")
    options = parser.parse_args()
    url = "database_url" if options.peer == "procrastinate" else "amqp_url"
    if options.peer != "sidekiq" and not getattr(options, url):
        give_up(70, f"{options.peer} needs --{url.replace('_', '-')}")
    run = f"peers_{options.peer}_{secrets.token_hex(4)}"
    directory = options.directory.resolve() / run
    try:
        report = measure(options, run, directory)
    except (ImportError, FileNotFoundError) as error:
        packages = f"{sys.executable} -m pip install -r {HERE / 'requirements.txt'}"
        if options.peer == "sidekiq":
            packages = "apt-get install redis-server ruby-sidekiq"
        give_up(69, f"{options.peer} is not installed: {error}. Install it: {packages}")
    except Exception as error:
        give_up(70, f"{options.peer}: {error!r}. Do the URLs lead to running servers? See also {directory}")
    shutil.rmtree(directory)
    print(json.dumps(report, ensure_ascii=False))


def measure(options, run, directory):
    (directory / "counters").mkdir(parents=True)
    # The peer's module reads these here and again in each worker process.
    os.environ.update(
        PEER_QUEUE=run,
        PEER_COUNTERS=str(directory / "counters"),
        PEER_AMQP_URL=options.amqp_url,
        PEER_DATABASE_URL=options.database_url,
        PYTHONDONTWRITEBYTECODE="1",
    )
    if options.tuned:
        os.environ["PEER_TUNED"] = "1"
    peer = importlib.import_module(f"{options.peer}_app")
    description = peer.describe(options.processes)
    workers = Processes()
    on_stop_signals(interrupt)
    try:
        publish_seconds = peer.publish(options.jobs)
        log = directory / "workers.log"
        for command in peer.worker_commands(options.processes):
            workers.start(command, HERE, log)
        seconds = wait_until_done(options.jobs, directory / "counters", workers, log)
    finally:
        on_stop_signals(signal.SIG_IGN)
        workers.stop()
        peer.clean_up()
    return {
        "peer": options.peer,
        **description,
        "jobs": options.jobs,
        "seconds": round(seconds, 3),
        "jobs_per_second": round(0.95 * options.jobs / seconds, 1),
        "publish_per_second": round(options.jobs / publish_seconds, 1),
    }


def wait_until_done(jobs, counters, workers, log):
    """The seconds from 5 % done to all done."""
    done, start, now, last_progress = 0, None, None, time.monotonic()
    while done < jobs:
        time.sleep(POLL_SECONDS)
        before, done, now = done, jobs_counted(counters), time.monotonic()
        if done > before:
            last_progress = now
        if start is None and done >= 0.05 * jobs:
            start = now
        stuck = now - last_progress > PATIENCE_SECONDS or not workers.all_running()
        if stuck and done < jobs:
            last_words = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            cause = f"after {done} of {jobs} jobs a worker ended or no job was done for {PATIENCE_SECONDS} s"
            give_up(70, f"{cause}. The end of {log}:\n{last_words}")
    if now == start:
        give_up(70, f"{jobs} jobs are too few to measure, give more --jobs")
    return now - start


def interrupt(number, _frame):
    sys.exit(128 + number)


def on_stop_signals(handler):
    for number in STOP_SIGNALS:
        signal.signal(number, handler)


def give_up(status, message):
    print(f"peers.py: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
