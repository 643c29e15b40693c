"""The control interface of supervisord, which runs the services.

On one machine it is a socket that only its owner can open; between containers it is a port with a password.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import xmlrpc.client
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self

from supervisor.xmlrpc import SupervisorTransport

from include.settings import Endpoint, Settings

SOCKET_NAME_LIMIT = 90
"""Bytes that a Unix socket's path may have, less what supervisord appends while it binds."""


USER = "lake"
"""Who asks over the network."""


class State(StrEnum):
    """What supervisord says of a process."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Process:
    """A service as supervisord sees it."""

    name: str
    state: State
    pid: int
    started_at: int
    trouble: str

    @property
    def started(self) -> datetime:
        """When it was started last; 1970 if never."""
        return datetime.fromtimestamp(self.started_at, UTC)

    @property
    def is_up(self) -> bool:
        """Whether supervisord runs it or is about to."""
        return self.state in (State.STARTING, State.RUNNING, State.BACKOFF)


class Supervisord:
    """The services of one stack, as supervisord runs them.

    Args:
        state_dir: The stack's state folder.
        server: Where it answers over the network; None: at the socket of the state folder.
        password: What it asks for there.
    """

    def __init__(self, state_dir: Path, server: Endpoint | None = None, password: str = "") -> None:
        self.socket = socket_of(state_dir)
        self._server = server
        self._password = password

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Find the supervisord of a stack's ingestion.

        Raises:
            ValueError: If it is asked over the network and has no password.
        """
        if settings.supervisor is None:
            return cls(settings.state_dir)
        if settings.supervisor_password is None:
            raise ValueError("LAKE_SUPERVISOR names an address and there is no LAKE_SUPERVISOR_PASSWORD")
        return cls(settings.state_dir, settings.supervisor, settings.supervisor_password.get_secret_value())

    @property
    def is_running(self) -> bool:
        """Whether supervisord answers."""
        if self._server is None and not self.socket.exists():
            return False
        try:
            self.call("getState")
        except (OSError, HTTPException):
            return False
        return True

    def processes(self) -> list[Process]:
        """List the services with what supervisord knows of them.

        Raises:
            OSError: If supervisord does not answer.
        """
        return [_process(info) for info in self.call("getAllProcessInfo")]

    def process(self, name: str) -> Process:
        """Return one service as supervisord sees it."""
        return _process(self.call("getProcessInfo", name))

    def names_up(self) -> set[str]:
        """Name the services that run or are about to; none if supervisord does not run."""
        return {process.name for process in self.processes() if process.is_up} if self.is_running else set()

    def launch(self, name: str) -> None:
        """Start a service, unless it is up."""
        if not self.process(name).is_up:
            self.call("startProcess", name, False)

    def stop(self, name: str) -> None:
        """Stop a service with all its processes and wait until it has ended."""
        if self.process(name).state not in (State.STOPPED, State.EXITED, State.FATAL):
            self.call("stopProcess", name, True)

    def stop_all(self, names: Iterable[str]) -> None:
        """Stop services side by side and wait until all have ended."""
        names = list(names)
        with ThreadPoolExecutor(max(len(names), 1)) as pool:
            for stopped in [pool.submit(self.stop, name) for name in names]:
                stopped.result()

    def call(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - each method answers in its own shape
        """Call a method of supervisord's interface."""
        if self._server is None:
            transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        else:
            transport = SupervisorTransport(USER, self._password, self._server.url)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def socket_of(state_dir: Path) -> Path:
    """Say where supervisord listens: in the state folder, unless that path is too long for a socket."""
    socket = state_dir / "run" / "supervisor.sock"
    if len(os.fsencode(socket)) <= SOCKET_NAME_LIMIT:
        return socket
    digest = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"lake-{os.getuid()}-{digest}" / "supervisor.sock"


def _process(info: dict[str, Any]) -> Process:
    return Process(info["name"], State(info["statename"]), info["pid"], info["start"], info["spawnerr"])
