"""Sidekiq with a Redis of its own, which starts with the publishing and stops at the end.

As it comes, and tuned: of 1, 2, 3, 5, 10 and 25 threads a process, tried on 2 cores, all were alike; 10 is the default
of Sidekiq 6.
"""

import os
import re
import socket
import subprocess
import time
from pathlib import Path

from processes import Processes

QUEUE = os.environ["PEER_QUEUE"]
REDIS_LOG = Path(os.environ["PEER_COUNTERS"]).with_name("redis.log")
APP = str(Path(__file__).resolve().with_suffix(".rb"))
THREADS = 10
REDIS_START_SECONDS = 20

redis = Processes()


def output_of(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def describe(processes):
    redis_version = re.search(r"v=(\S+)", output_of("redis-server", "--version"))[1]
    return {
        "version": output_of("sidekiq", "--version").split()[-1],
        "broker": f"Redis {redis_version}, appendonly, fsync every second",
        "settings": f"{processes} processes × {THREADS} threads, pushed in bulks of 1000",
        "keeps": "at most once when a worker is killed, a crash of Redis may lose the last second, "
        "no deduplication, no results, failed jobs retried",
    }


def publish(jobs):
    start_redis()
    return float(output_of("ruby", APP, str(jobs)))


def start_redis():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ["PEER_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    options = ["--bind", "127.0.0.1", "--port", str(port), "--appendonly", "yes", "--appendfsync", "everysec"]
    redis.start(["redis-server", *options, "--save", ""], REDIS_LOG.parent, REDIS_LOG)
    deadline = time.monotonic() + REDIS_START_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline or not redis.all_running():
                raise
            time.sleep(0.05)


def worker_commands(processes):
    return [["sidekiq", "--require", APP, "--queue", QUEUE, "--concurrency", str(THREADS)]] * processes


def clean_up():
    redis.stop()
