"""Starts programs in process groups of their own and leaves none of them behind."""

import os
import signal
import subprocess
import time

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 20


class Processes:
    def __init__(self):
        self._started = []

    def start(self, command, directory, log):
        # A stop signal waits until the new process is on the list.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            self._started.append(
                subprocess.Popen(
                    command,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
                )
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def all_running(self):
        return all(process.poll() is None for process in self._started)

    def stop(self):
        for process in self._started:
            process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self._started:
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
        for process in self._started:
            # Also when the first process of the group has ended: its children may not have.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self._started.clear()
