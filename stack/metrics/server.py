"""Answers Prometheus, and takes what Airflow's processes tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from include.settings import Endpoint

Posts = Mapping[str, Callable[[bytes], None]]
"""Path → who takes what is posted there; a body that cannot be read is a `ValueError` or protobuf's `DecodeError`."""

LARGEST = 4 * 1024 * 1024
"""Bytes of one report; Airflow's have a few thousand."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401 - the base class's signature
        """Say nothing of each request."""


def application(registry: CollectorRegistry, posts: Posts) -> WSGIApplication:
    """Make the WSGI application: GET gives the metrics, each POST goes to whom its path names."""
    metrics = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            given: Iterable[bytes] = metrics(environ, start_response)
            return given
        take = posts.get(environ["PATH_INFO"])
        size = int(environ.get("CONTENT_LENGTH") or 0)
        if take is None or size > LARGEST:
            start_response("404 Not Found" if take is None else "413 Content Too Large", [])
            return [b""]
        try:
            take(environ["wsgi.input"].read(size))
        except (DecodeError, ValueError) as unreadable:
            start_response("400 Bad Request", [("Content-Type", "text/plain")])
            return [str(unreadable).encode()]
        start_response("200 OK", [])
        return [b""]

    return answer


@contextmanager
def serving(at: Endpoint, registry: CollectorRegistry, posts: Posts) -> Iterator[None]:
    """Serve in the background while the block runs.

    Raises:
        OSError: If the port is taken.
    """
    server = make_server(at.host, at.port, application(registry, posts), ThreadingWSGIServer, _Quiet)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
