"""Counts finished jobs without asking the broker and at next to no cost for the handler.

Each thread of each worker process maps an 8-byte file of its own into its
memory; nobody else writes there, so it needs no lock. peers.py adds them up.
"""

import mmap
import os
import sys
import tempfile
import threading

_own = threading.local()


def count_job():
    try:
        _own.counter[0] += 1
    except AttributeError:
        # The first job of this thread. Not at import: a program that forks its
        # workers after the import would have them share one counter.
        _own.counter = _new_counter()
        _own.counter[0] = 1


def _new_counter():
    descriptor, _ = tempfile.mkstemp(dir=os.environ["PEER_COUNTERS"])
    os.truncate(descriptor, 8)
    mapped = mmap.mmap(descriptor, 8)
    os.close(descriptor)
    return memoryview(mapped).cast("Q")


def jobs_counted(directory):
    return sum(int.from_bytes(file.read_bytes(), sys.byteorder) for file in directory.iterdir())
