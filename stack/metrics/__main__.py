"""Run the service `metrics`: `python -m stack.metrics`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType

from prometheus_client import CollectorRegistry

from include.logs import log_as_json
from include.settings import Settings
from stack.metrics.airflow import Tallies
from stack.metrics.alerts import Messenger
from stack.metrics.backlog import Backlog
from stack.metrics.publications import Publications
from stack.metrics.server import serving
from stack.metrics.source import Watch
from stack.metrics.store import Store

log = logging.getLogger("stack.metrics")


def watches(settings: Settings) -> list[Watch]:
    """List what is looked at again and again, and how often."""
    store = Watch("store", Store(settings.state_dir / "data" / "s3", settings.bucket), every=60)
    return [
        Watch("kafka", Backlog(settings.kafka), every=15),
        Watch("nessie", Publications(settings.nessie_api, settings.branch), every=15),
        # Between containers the store's folder is its own; it tells of itself.
        *([] if settings.listen_host else [store]),
    ]


def registry_of(parts: list[Watch], tallies: Tallies) -> CollectorRegistry:
    """Gather what is told."""
    registry = CollectorRegistry()
    for part in (*parts, tallies):
        registry.register(part)
    return registry


def main() -> int:
    """Serve until a signal comes; return the exit code."""
    log_as_json()
    # It tells of each question to Nessie.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = Settings.load()
    at = settings.listening(settings.metrics)
    parts, tallies, stop = watches(settings), Tallies(), threading.Event()
    posts = {"/v1/metrics": tallies.take, "/api/v2/alerts": Messenger(settings).take}

    def told(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    try:
        with serving(at, registry_of(parts, tallies), posts):
            for part in parts:
                part.start()
            stop.wait()
            for part in parts:
                part.stop()
    except OSError as error:
        log.error(
            "metrics cannot be served at %s (%s): stop what listens there, or set %s to a free port",
            at.address, error.strerror, "LAKE_METRICS__PORT",
        )  # fmt: skip
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
