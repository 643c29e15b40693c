"""A webhook of the tests' own, to which a stack sends its alerts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """What was posted so far.

    Args:
        port: Where it listens, on this machine.
    """

    def __init__(self, port: int) -> None:
        self.apprise_url = f"json://127.0.0.1:{port}/alerts"
        self.posts: list[dict[str, Any]] = []


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Listen on a free port until left."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the tests' output for the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
