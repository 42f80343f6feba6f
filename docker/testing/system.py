"""The system, as `docker compose` runs it."""
import os
import pathlib
import shlex
import socket
import subprocess
import time

DIRECTORY = pathlib.Path(__file__).resolve().parent.parent

# The longest that one command of compose may take, seconds. Images are built before.
COMMAND_SECONDS_MAX = 300


class Failure(Exception):
    """Something that the test wanted and did not get, in a sentence."""


_started = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - _started:6.1f} s  {text}", flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what: str, condition, seconds: float = 120) -> None:
    """Asks twice a second until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)


class System:
    """The services of one compose file, under a project name of their own and on ports that are free."""

    def __init__(self, file: str, broker_image: str, secrets: pathlib.Path):
        self.name = f"gaia-test-{os.getpid()}-{file.removesuffix('.yaml').replace('.', '-')}"
        self.secrets = secrets
        command = shlex.split(os.environ.get("COMPOSE", "docker compose"))
        self.command = [*command, "--project-name", self.name, "--file", str(DIRECTORY / file)]
        self.has_browser = file == "compose.yaml"
        if self.has_browser:
            self.command += ["--file", str(DIRECTORY / "testing/browser.yaml")]
        self.ports = [free_port() for _ in range(3)]
        # Where no scenario visits pages, that image need not be built.
        image = {} if self.has_browser else {"GAIA_BROWSER_IMAGE": os.environ.get("GAIA_IMAGE", "gaia-fleet")}
        self.environment = os.environ | image | {
            "RABBITMQ_IMAGE": broker_image,
            "GAIA_SECRETS": str(secrets),
            "AMQPS_PORT": str(self.ports[0]),
            "AMQPS_PORT_2": str(self.ports[1]),
            "AMQPS_PORT_3": str(self.ports[2]),
            "MANAGEMENT_PORT": str(free_port()),
        }

    def run(self, *arguments: str, seconds: float = COMMAND_SECONDS_MAX, input: str | None = None) -> str:
        """Standard output of a command of compose."""
        try:
            done = subprocess.run(
                [*self.command, *arguments], env=self.environment, text=True, capture_output=True, timeout=seconds,
                input=input)
        except subprocess.TimeoutExpired:
            raise Failure(f"compose {' '.join(arguments)}: not done within {seconds:.0f} s") from None
        if done.returncode != 0:
            raise Failure(f"compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}{done.stdout[-2000:]}")
        return done.stdout

    def up(self, *arguments: str) -> None:
        self.run("up", "--detach", "--wait", *arguments)

    def down(self) -> None:
        self.run("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")

    def kill(self, service: str) -> None:
        """SIGKILL, as a machine that loses its power; the service stays down until it is brought back."""
        self.run("kill", "--signal", "KILL", service)

    def bring_back(self, *services: str) -> None:
        self.up("--no-deps", "--no-recreate", *services)

    def scale(self, service: str, count: int) -> None:
        self.up("--no-deps", "--no-recreate", "--scale", f"{service}={count}", service)

    def inside(self, service: str, *command: str, input: str | None = None) -> str:
        """Standard output of a command in a service's container."""
        return self.run("exec", "-T", service, *command, input=input)

    def sql(self, service: str, statement: str) -> list[list[str]]:
        """The rows of a statement, asked as the database's superuser."""
        text = self.inside(
            service, "psql", "-X", "-At", "-F", "\t", "-U", "postgres", "-d", "gaia", "-c", statement)
        return [line.split("\t") for line in text.splitlines()]

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    def logs(self) -> str:
        return self.run("logs", "--no-color", "--timestamps")
