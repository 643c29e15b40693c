"""A whole stack of the tests' own, driven by the same commands as people use."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import IO

import psutil

from include.settings import CHECKOUT, Endpoint, Settings
from stack.lifecycle import layout_of
from stack.probes import airflow_api
from stack.supervisor import Supervisor
from tests.drivers.waiting import eventually

ARTEFACTS = CHECKOUT / ".lake" / "test-artefacts"
"""What a failed or a looked-at run leaves: logs, screenshots."""

MOUNT = 'mount -t tmpfs -o "size=$1" none "$LAKE_STATE_DIR" && shift && exec "$@"'
"""Shell: put an empty disk over the state folder, seen by this process alone, and become the command."""

# Below the range from which the kernel takes ports for outgoing connections, so that none of those is in the way.
PORTS = {"gw0": range(20_000, 26_000), "gw1": range(26_000, 32_000)}
"""By the process that runs the tests: where two share them, two stacks may start at once."""
OF_ALL = range(20_000, 32_000)


def free_ports() -> dict[str, int]:
    """Find a free port for each service that the settings know."""
    services = [name for name, info in Settings.model_fields.items() if info.annotation is Endpoint]
    ports = PORTS.get(os.environ.get("PYTEST_XDIST_WORKER", ""), OF_ALL)
    candidates = iter(random.sample(ports, k=len(ports)))
    return {service: next(port for port in candidates if is_free(port)) for service in services}


def is_free(port: int) -> bool:
    """Whether a server could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class RunningStack:
    """One stack: its folder, its ports, its commands.

    Args:
        state: Its state folder.
        choices: `LAKE_…` variables beyond the folders and ports.
    """

    state: Path
    choices: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=free_ports)
    disk: str | None = None
    """The size of a disk of its own that each command gets for the state folder; None for the machine's."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its commands: nothing of another stack's, everything of this one's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAKE_")}
        ports = {f"LAKE_{service.upper()}__PORT": str(port) for service, port in self.ports.items()}
        return inherited | ports | dict(self.choices) | {"LAKE_STATE_DIR": str(self.state)}

    @cached_property
    def settings(self) -> Settings:
        """The settings as the stack's own processes read them; only once the stack has started."""
        places = {service: {"port": port} for service, port in self.ports.items()}
        kept = (self.state / "settings.env", self.state / "secrets.env")
        return Settings(_env_file=kept, state_dir=self.state, **places)  # type: ignore[call-arg, arg-type]

    def command(self, *arguments: str, timeout: float, **choices: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m stack …` to its end and return what it printed and its exit code.

        Args:
            timeout: Seconds after which it is stopped and the test fails.
            choices: Variables for this command alone.
        """
        mounted = ("unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", self.disk) if self.disk else ()
        return subprocess.run(
            [*mounted, sys.executable, "-m", "stack", *arguments],
            cwd=CHECKOUT,
            env=self.environment | choices,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str, output: IO[bytes] | int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Begin `python -m stack …` and return at once.

        Args:
            output: Where it prints; if nothing is said, that is to be read.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "stack", *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def on_a_disk_of(self, size: str) -> RunningStack:
        """Return the same stack, with an empty disk of this size (as `mount` reads it) for each of its commands."""
        return replace(self, disk=size)

    def processes(self) -> list[psutil.Process]:
        """Return every process of this stack that lives, parents first, whoever started it."""
        own: dict[int, psutil.Process] = {}
        for process in sorted(psutil.process_iter(["ppid", "create_time"]), key=lambda each: each.info["create_time"]):
            # PostgreSQL's processes write over their environment, so they are known by their parent.
            if process.info["ppid"] in own or variable(process, "LAKE_STATE_DIR") == str(self.state):
                own[process.pid] = process
        return list(own.values())

    @cached_property
    def supervisor(self) -> Supervisor:
        """Who keeps the services alive; only once the stack has started."""
        return Supervisor(layout_of(self.settings))

    def process(self, service: str) -> psutil.Process:
        """Return the process that the supervisor started for a service.

        Raises:
            psutil.NoSuchProcess: If it does not run at the moment.
        """
        return psutil.Process(self.supervisor.process(service).pid or -1)

    def kill(self, service: str, *, whole: bool = False) -> None:
        """End a service with SIGKILL, its main process or all of them, and wait until the supervisor runs another."""
        victim = self.process(service)
        for process in [*(victim.children(recursive=True) if whole else []), victim]:
            with suppress(psutil.NoSuchProcess):  # one that ended by itself meanwhile
                process.kill()

        def is_replaced() -> bool:
            return self.supervisor.process(service).pid not in (0, victim.pid)

        eventually(is_replaced, within=60, what=f"a new {service}")

    def wait_for_console(self) -> None:
        """Wait until Airflow's API answers."""
        answers = airflow_api(self.settings.airflow)
        eventually(answers, within=240, what="Airflow's API")

    def run(self, *command: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command in the stack's environment, as `python -m stack run` gives it."""
        return self.command("run", *command, timeout=timeout)

    @contextmanager
    def starting(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command as `run` does, and see it ended afterwards; what it prints is passed over."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stack", "run", *command],
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)

    def keep_logs(self, name: str) -> None:
        """Copy the logs and the rendered configuration to the artefacts."""
        for part in ("logs", "conf", "alerts.ndjson", "airflow/logs"):
            source, target = self.state / part, ARTEFACTS / name / part
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


def variable(process: psutil.Process, name: str) -> str | None:
    """Return a variable of a process's environment; None if it has none or has ended."""
    try:
        return process.environ().get(name)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


@contextmanager
def broker_alone(choices: Mapping[str, str] = MappingProxyType({})) -> Iterator[RunningStack]:
    """Run a broker with the lake's topics and nothing else; afterwards not a process of it is left."""
    stack = RunningStack(CHECKOUT / ".lake" / f"test-{secrets.token_hex(3)}", choices)
    try:
        up = stack.command("up", "--only", "topics", timeout=120)
        assert up.returncode == 0, up.stdout
        yield stack
    finally:
        stack.command("down", timeout=120)
        for process in stack.processes():
            process.kill()
        shutil.rmtree(stack.state, ignore_errors=True)
