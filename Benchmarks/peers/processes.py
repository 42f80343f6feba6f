"""Starts programs in process groups of their own and leaves none of them behind."""

import os
import signal
import subprocess
import time
from contextlib import suppress

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 20


class Processes:
    def __init__(self):
        self.started = []

    def start(self, command, directory, log):
        # A stop signal waits until the new process is on the list.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
                )
            self.started.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def all_running(self):
        return all(process.poll() is None for process in self.started)

    def stop(self):
        for process in self.started:
            process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self.started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
            # Also when it ended in time: its children may not have.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
