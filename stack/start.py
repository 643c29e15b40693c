"""Bring parts of a stack up in the order of their dependencies, side by side where they do not depend on each other."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from typing import Protocol

from stack.failures import StackError
from stack.initialise import last_words
from stack.layout import Layout
from stack.service import Part, Service, Step, start_order, stop_order
from stack.supervisor import POLL_SECONDS, Supervisor

DEATHS = 3
"""A service that ended so often while it should come up is not waited for any longer."""


class Watcher(Protocol):
    """Who is told what happens."""

    def begun(self, part: Part) -> None:
        """A part is on its way."""

    def done(self, part: Part, seconds: float, *, is_new: bool) -> None:
        """A part does its work; `is_new` if it did not before."""


class StartCancelledError(Exception):
    """Another part failed, so this one was not waited for."""


def bring_up(parts: Iterable[Part], layout: Layout, supervisor: Supervisor, watcher: Watcher) -> None:
    """Start all parts and wait until each does its work; if one fails, stop those that this call started.

    Raises:
        StackError: If a part failed.
    """
    parts = list(parts)
    by_name = {part.name: part for part in parts}
    order = start_order(parts)
    order.prepare()
    stop = Event()
    started: list[str] = []
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(max_workers=max(len(parts), 1)) as pool:
        try:
            while order.is_active():
                for name in order.get_ready():
                    future = pool.submit(_bring_up_one, by_name[name], layout, supervisor, watcher, stop, started)
                    running[future] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    order.done(running.pop(future))
        except BaseException:
            stop.set()
            wait(running)
            for level in stop_order(parts):
                supervisor.stop_all(name for name in level if name in started)
            raise


def _bring_up_one(
    part: Part, layout: Layout, supervisor: Supervisor, watcher: Watcher, stop: Event, started: list[str]
) -> None:
    begun = time.monotonic()
    watcher.begun(part)
    if isinstance(part, Step):
        is_new = is_due(part, layout.run)
        if is_new:
            run_step(part, layout.run)
    else:
        is_new = not supervisor.process(part.name).is_up
        if is_new:
            if part.prepare:
                part.prepare()
            started.append(part.name)
            supervisor.launch(part.name)
        await_ready(part, layout, supervisor, stop)
    watcher.done(part, time.monotonic() - begun, is_new=is_new)


def await_ready(service: Service, layout: Layout, supervisor: Supervisor, stop: Event) -> None:
    """Wait until a service does its work.

    Raises:
        StackError: If it ends again and again, or is not ready in time; with the end of its log.
        StartCancelledError: If `stop` was set meanwhile.
    """
    log = layout.logs / f"{service.name}.log"
    deadline = time.monotonic() + service.patience
    seen: set[int] = set()
    while True:
        process = supervisor.process(service.name)
        if process.pid:
            seen.add(process.pid)
        if len(seen) > DEATHS:
            raise StackError(f"{service.name} ends as soon as it is started: {last_words(log)} See {log}.")
        if service.ready():
            return
        if time.monotonic() > deadline:
            raise StackError(f"{service.name} was not ready after {service.patience} s: {last_words(log)} See {log}.")
        if stop.wait(POLL_SECONDS):
            raise StartCancelledError(service.name)


def is_due(step: Step, folder: Path) -> bool:
    """Whether a step has not run yet, or its inputs have changed since.

    Args:
        folder: Where what has been done is noted.
    """
    note = _note(step, folder)
    return not note.exists() or note.read_text() != _inputs(step)


def run_step(step: Step, folder: Path) -> None:
    """Run a step and note that it has run with these inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    note, inputs = _note(step, folder), _inputs(step)
    note.unlink(missing_ok=True)
    step.run()
    note.write_text(inputs)


def _note(step: Step, folder: Path) -> Path:
    return folder / f"{step.name}.done"


def _inputs(step: Step) -> str:
    return hashlib.sha256(step.inputs().encode()).hexdigest()
