import argparse, importlib, json, os, secrets, shutil, signal, sys, time
from pathlib import Path

sys.dont_write_bytecode = True
from counters import jobs_counted
from processes import Processes

HERE = Path(__file__).resolve().parent
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
p = argparse.ArgumentParser()
p.add_argument("peer"); p.add_argument("--jobs", type=int); p.add_argument("--processes", type=int, default=2)
p.add_argument("--directory", type=Path); p.add_argument("--amqp-url", default=""); p.add_argument("--database-url", default="")
a = p.parse_args()
q = f"peers_{a.peer}_{secrets.token_hex(4)}"
d = a.directory.resolve() / q
(d / "counters").mkdir(parents=True)
os.environ.update(PEER_QUEUE=q, PEER_COUNTERS=str(d / "counters"), PEER_DIRECTORY=str(d), PEER_AMQP_URL=a.amqp_url, PEER_DATABASE_URL=a.database_url)
m = importlib.import_module("sidekiq_peer" if a.peer == "sidekiq" else a.peer + "_app")
def stop(n, f): raise SystemExit(128 + n)
signal.signal(signal.SIGTERM, stop)
w = Processes()
try:
    pub = m.publish(a.jobs)
    with open(d / "log", "ab") as log:
        for c in m.worker_commands(a.processes): w.start(c, HERE, log)
    t0 = time.monotonic(); start = None
    while (n := jobs_counted(d / "counters")) < a.jobs:
        if start is None and n >= a.jobs * 0.05: start = time.monotonic()
        if time.monotonic() - t0 > 60 or not w.all_running():
            print(open(d / "log").read()[-3000:]); raise SystemExit(70)
        time.sleep(0.05)
    s = time.monotonic() - start
    print(a.peer, m.version(), m.broker(), "jobs/s", round(.95 * a.jobs / s), "publish/s", round(a.jobs / pub), "counted", n, "load", os.getloadavg()[0])
    t = time.monotonic()
finally:
    w.stop()
    print("stopped in", time.monotonic() - t)
    m.clean_up()
    sys.stdout.write(open(d / "log").read()[-1500:])
