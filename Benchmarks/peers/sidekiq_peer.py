import os, shutil, socket, subprocess, time, re
from pathlib import Path
from processes import Processes

QUEUE = os.environ["PEER_QUEUE"]
HERE = Path(__file__).resolve().parent
APP = str(HERE / "sidekiq_app.rb")
redis = Processes()


def output_of(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def version():
    return output_of("ruby", "-rsidekiq", "-e", "print Sidekiq::VERSION")

def broker():
    return "Redis"

def publish(jobs):
    start_redis()
    return float(output_of("ruby", APP, str(jobs)))

def start_redis():
    directory = os.environ["PEER_DIRECTORY"]
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    os.environ["PEER_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    with open(Path(directory) / "redis.log", "ab") as log:
        redis.start(["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", directory,
           "--appendonly", "yes", "--appendfsync", "everysec"], directory, log)
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as c:
                c.sendall(b"PING\r\n")
                if c.recv(100).startswith(b"+PONG"): return
        except OSError:
            pass
        if time.monotonic() > deadline or not redis.all_running():
            raise RuntimeError("redis did not start")
        time.sleep(0.05)

def worker_commands(processes):
    return [["sidekiq", "--require", APP, "--queue", QUEUE] + os.environ.get("X_OPTS", "--concurrency 5").split() for _ in range(processes)]

def settings(processes): return "?"
KEEPS = "?"
def clean_up():
    redis.stop()
