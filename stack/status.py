"""What runs: state, process, memory."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from include.settings import Settings
from include.supervisord import Process, State
from stack import lifecycle
from stack.service import Service
from stack.supervisor import Supervisor, processes_of


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service as it is now.

    Args:
        memory: Bytes of proportional memory (PSS) of all its processes; None if it has none.
    """

    service: Service
    state: str
    pid: int | None
    memory: int | None

    @property
    def is_well(self) -> bool:
        """Whether it runs and does its work."""
        return self.state == "ready"


def look(settings: Settings) -> list[ServiceStatus]:
    """Look at every service of the profile.

    Raises:
        StackError: If the stack was never started.
    """
    layout, services, _ = lifecycle.open_stack(settings)
    supervisor = Supervisor(layout)
    known = {process.name: process for process in supervisor.processes()} if supervisor.is_running else {}
    return [_status(service, known.get(service.name)) for service in services]


def unsupervised(settings: Settings) -> list[psutil.Process]:
    """Return the processes of services that go on although their supervisor is gone.

    Raises:
        StackError: If the stack was never started.
    """
    layout, _, _ = lifecycle.open_stack(settings)
    return [] if Supervisor(layout).is_running else processes_of(layout.state)


def _status(service: Service, process: Process | None) -> ServiceStatus:
    if process is None or not process.is_up:
        state = "failed" if process is not None and process.state is State.FATAL else "stopped"
        return ServiceStatus(service, state, None, None)
    if process.state is State.BACKOFF or not process.pid:
        return ServiceStatus(service, "crashing", None, None)
    state = "ready" if service.ready() else "not ready"
    return ServiceStatus(service, state, process.pid, proportional_memory(process.pid))


def proportional_memory(pid: int) -> int:
    """Return the bytes of a process and its children, memory that several share counted once."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_pss(process) for process in tree)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0
