"""What a service is, what a step of the initialisation is, and in which order they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from include.settings import Endpoint


@dataclass(frozen=True, slots=True)
class Service:
    """One long-lived process under the supervisor.

    Args:
        purpose: What it is for, as `status` shows it.
        ready: Whether it does its work now; asked again and again, so it must be quick and must not raise for what is
            merely not there yet.
        after: Services and steps that come before it.
        reads: Whose rendered configuration it reads, by folder, and `settings` for the kept choices; when that changes
            it is started anew.
        ports: Where it listens, the one that people use first.
        prepare: What must be on disk before its first start.
        patience: Seconds that it may take to become ready.
    """

    name: str
    purpose: str
    command: Sequence[str]
    ready: Callable[[], bool]
    after: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    ports: tuple[Endpoint, ...] = ()
    prepare: Callable[[], None] | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    patience: int = 120


@dataclass(frozen=True, slots=True)
class Step:
    """One idempotent part of the initialisation.

    Args:
        purpose: What it does, as the progress shows it.
        inputs: A text that changes when the step has something new to do; a step with unchanged inputs is passed over.
    """

    name: str
    purpose: str
    run: Callable[[], None]
    inputs: Callable[[], str]
    after: tuple[str, ...] = ()


Part = Service | Step


def needed_for(names: Iterable[str], parts: Iterable[Part]) -> list[Part]:
    """Return the named parts and all that comes before them, in the order given.

    Raises:
        KeyError: If there is no part of such a name; its text lists what there is.
    """
    by_name = {part.name: part for part in parts}
    wanted: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name not in by_name:
            raise KeyError(f"there is no service {name}; there are {', '.join(sorted(by_name))}")
        if name not in wanted:
            wanted.add(name)
            open_names += by_name[name].after
    return [part for part in by_name.values() if part.name in wanted]


def start_order(parts: Iterable[Part]) -> TopologicalSorter[str]:
    """Return the parts as a graph that gives out whatever may start next; parts that are not listed count as done."""
    parts = list(parts)
    names = {part.name for part in parts}
    return TopologicalSorter({part.name: [name for name in part.after if name in names] for part in parts})


def stop_order(parts: Iterable[Part]) -> list[list[str]]:
    """Return the names in groups: what nothing depends on any more stops side by side, then what it stood on."""
    order = start_order(parts)
    order.prepare()
    levels: list[list[str]] = []
    while order.is_active():
        level = list(order.get_ready())
        levels.append(level)
        order.done(*level)
    return levels[::-1]
