"""supervisord: it keeps the services alive, restarts what dies and rotates the logs."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from include.settings import CHECKOUT, Endpoint
from include.supervisord import USER, Supervisord, socket_of
from stack.failures import StackError
from stack.layout import Layout, inherited
from stack.service import Service
from stack.templates import write_private

LOG_SIZE = "10MB"
LOG_FILES = 3
POLL_SECONDS = 0.2
NEVER_GIVE_UP = 1_000_000
"""Retries of a start: a service that waits for another one tries until it is there, with a growing pause."""
MARK = "LAKE_SERVICE"
"""The variable by which the processes of a stack are known, with LAKE_STATE_DIR saying of which stack."""


@dataclass(frozen=True, slots=True)
class OwnContainer:
    """How supervisord is the one process that a container is for.

    Args:
        listens: Where its interface is asked.
        password: What it asks for.
    """

    listens: Endpoint
    password: str


def configuration(
    layout: Layout,
    services: Iterable[Service],
    fingerprints: Mapping[str, str],
    container: OwnContainer | None = None,
) -> str:
    """Write supervisord's configuration.

    Args:
        fingerprints: Service → hash of its rendered configuration; a changed one makes supervisord see a changed
            service, which is then started anew.
        container: Where it runs in a container of its own: in the foreground, all services from the start, what they
            say on its output, and its interface on the network. None: as a part of a stack on one machine.
    """
    socket = socket_of(layout.state)
    if container is None:
        server = f"[unix_http_server]\nfile={_plain(socket)}\nchmod=0700"
    else:
        at = container.listens.address
        server = f"[inet_http_server]\nport={at}\nusername={USER}\npassword={_escaped(container.password)}"
    sections = [
        server,
        "[supervisord]\n"
        f"nodaemon={'false' if container is None else 'true'}\n"
        f"logfile={_plain(layout.logs / 'supervisord.log')}\nlogfile_maxbytes={LOG_SIZE}\nlogfile_backups={LOG_FILES}\n"
        f"pidfile={_plain(layout.run / 'supervisord.pid')}\nchildlogdir={_plain(layout.logs)}\n"
        f"directory={_plain(CHECKOUT)}",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for service in services:
        environment = (
            layout.environment()
            | dict(service.environment)
            | {MARK: service.name, "LAKE_CONFIGURATION": fingerprints.get(service.name, "")}
        )
        sections.append(
            f"[program:{service.name}]\n"
            f"command={_escaped(shlex.join(service.command))}\n"
            f"environment={','.join(f'{name}={quoted(value)}' for name, value in sorted(environment.items()))}\n"
            f"autostart={'false' if container is None else 'true'}\n"
            f"autorestart=true\nstartsecs=1\nstartretries={NEVER_GIVE_UP}\n"
            f"stopsignal={service.stop_signal}\nstopwaitsecs={service.stop_seconds}\n"
            "stopasgroup=true\nkillasgroup=true\nredirect_stderr=true\n"
            f"{_log(layout, service, container)}"
        )
    return "\n\n".join(sections) + "\n"


def _log(layout: Layout, service: Service, container: OwnContainer | None) -> str:
    if container is not None:
        return "stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0"
    return (
        f"stdout_logfile={_plain(layout.logs / f'{service.name}.log')}\n"
        f"stdout_logfile_maxbytes={LOG_SIZE}\nstdout_logfile_backups={LOG_FILES}"
    )


def quoted(value: str) -> str:
    """Quote a value for supervisord's `environment`.

    Raises:
        ValueError: If it holds both kinds of quotes, or a line break: supervisord has no way to write it.
    """
    if "\n" in value or ('"' in value and "'" in value):
        raise ValueError(f"supervisord cannot be given the value {value!r}")
    quote = "'" if '"' in value else '"'
    return f"{quote}{_escaped(value)}{quote}"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _plain(path: Path) -> str:
    return _escaped(str(path))


class Supervisor(Supervisord):
    """The supervisord of one stack: begun, configured and ended, besides what is asked of it while it runs."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout.state)
        self._layout = layout
        self._conf = layout.conf("supervisord.conf")

    def configure(self, services: Iterable[Service], fingerprints: Mapping[str, str]) -> None:
        """Write the configuration that the next `start` or `adopt` takes."""
        self._conf.parent.mkdir(parents=True, exist_ok=True)
        write_private(self._conf, configuration(self._layout, services, fingerprints))

    def start(self) -> None:
        """Start supervisord, without any service; what a killed one left behind is removed before.

        Raises:
            StackError: If it does not come up.
        """
        for folder in (self._layout.run, self._layout.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.socket.parent.stat().st_uid != os.getuid():
            raise StackError(f"{self.socket.parent} belongs to somebody else; choose a shorter LAKE_STATE_DIR.")
        self.socket.unlink(missing_ok=True)
        started = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._conf)],
            env=self._environment(), cwd=CHECKOUT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if started.returncode != 0:
            raise StackError(f"supervisord did not start: {(started.stderr or started.stdout).strip()}")
        deadline = time.monotonic() + 15
        while not self.is_running:
            if time.monotonic() > deadline:
                raise StackError(f"supervisord did not start; see {self._layout.logs / 'supervisord.log'}.")
            time.sleep(POLL_SECONDS)

    def _environment(self) -> dict[str, str]:
        """Return a shell's environment without its choices: those are kept, and services read what is kept."""
        return {name: value for name, value in inherited(os.environ).items() if not name.startswith("LAKE_")}

    def adopt(self) -> list[str]:
        """Take over the written configuration and return the running services that it changed, now stopped."""
        ((added, changed, removed),) = self.call("reloadConfig")
        were_up = [process.name for process in self.processes() if process.is_up]
        self.stop_all((*changed, *removed))
        for name in (*changed, *removed):
            self.call("removeProcessGroup", name)
        for name in {*added, *changed}:
            self.call("addProcessGroup", name)
        return [name for name in changed if name in were_up]

    def shut_down(self) -> None:
        """End supervisord and wait until it is gone."""
        pid: int = self.call("getPID")
        self.call("shutdown")
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(timeout=60)


def processes_of(state_dir: Path) -> list[psutil.Process]:
    """Find the living processes of a stack's services, whoever their parent is now, and their children."""
    mark = f"LAKE_STATE_DIR={state_dir}"
    found: dict[int, psutil.Process] = {}
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid in spared or process.pid in found:
            continue
        try:
            variables = Path(f"/proc/{process.pid}/environ").read_text(errors="replace").split("\0")
            if mark in variables and any(variable.startswith(f"{MARK}=") for variable in variables):
                found |= {child.pid: child for child in (process, *process.children(recursive=True))}
        except (OSError, psutil.NoSuchProcess):
            continue
    return [process for pid, process in found.items() if pid not in spared]


def end(processes: list[psutil.Process], seconds: float, *, tell: Callable[[str], None]) -> None:
    """End processes: asked first, killed when they have not gone after the given time."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _, processes = psutil.wait_procs(processes, timeout=0)
        for process in processes:
            try:
                tell(f"ending process {process.pid} ({process.name()}), which nobody supervises")
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        _, processes = psutil.wait_procs(processes, timeout=seconds)
