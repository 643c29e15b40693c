"""Where a process tells Prometheus how it fares."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from include.settings import Endpoint


def serve(registry: CollectorRegistry, at: Endpoint, setting: str) -> None:
    """Answer Prometheus, in a thread of its own, for as long as the process lives.

    Args:
        at: Where.
        setting: The setting that says so, in the environment.

    Raises:
        OSError: If the port is taken; its text says what to do.
    """
    try:
        start_http_server(at.port, addr=at.host, registry=registry)
    except OSError as error:
        raise OSError(
            f"metrics cannot be served at {at.address} ({error.strerror}): "
            f"stop what listens there, or set {setting}__PORT to a free port"
        ) from error
