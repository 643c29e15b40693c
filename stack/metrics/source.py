"""Something that is looked at in the background, so that Prometheus never waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)


class Source(Protocol):
    """What can be looked at, also after it could not be; it may remember what it saw before. Blocking, one thread."""

    def read(self) -> Sequence[Metric]:
        """Look now. Whatever goes wrong may be raised."""


class Watch(Collector):
    """Reads a source again and again in a thread of its own and gives Prometheus what it read last.

    What cannot be read is not told, rather than told as it once was; `lake_source_up` says so.

    Args:
        name: What Prometheus calls the source.
        every: Seconds between two looks.
    """

    def __init__(self, name: str, source: Source, *, every: float) -> None:
        self.name = name
        self._source = source
        self._every = every
        self._told: Sequence[Metric] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{name}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look under way is not waited for long."""
        self._stop.set()
        self._thread.join(timeout=5)

    def describe(self) -> Iterable[Metric]:
        """Tell nothing: the names of the metrics are known once they are read."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Give Prometheus what was read last."""
        told = self._told
        up = GaugeMetricFamily("lake_source_up", "Whether the last look at a source succeeded.", labels=("source",))
        up.add_metric((self.name,), float(told is not None))
        return (up, *(told or ()))

    def _run(self) -> None:
        was_well = True
        while not self._stop.is_set():
            try:
                self._told = self._source.read()
            except Exception as error:
                self._told = None
                if was_well:
                    log.warning("%s cannot be read: %s", self.name, error)
            else:
                if not was_well:
                    log.info("%s can be read again", self.name)
            was_well = self._told is not None
            self._stop.wait(self._every)
