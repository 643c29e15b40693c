"""The relay is code too: what it lets pass is unchanged, and what it spoils is spoiled where it says."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.drivers.proxy import TROUBLES, Proxy, Request
from tests.drivers.running_stack import free_ports

pytestmark = pytest.mark.unit


class Echo(BaseHTTPRequestHandler):
    """Answers with the body that came, and keeps it."""

    protocol_version = "HTTP/1.1"
    taken: list[bytes]

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else b"".join(iter(self._chunk, b""))
        self.taken.append(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output for the tests."""

    def _chunk(self) -> bytes:
        data = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return data


class Service(ThreadingHTTPServer):
    """The server behind the relay."""

    def handle_error(self, *_: object) -> None:
        """Say nothing of a connection that was cut: that is what is tested."""


@pytest.fixture
def taken() -> list[bytes]:
    """The bodies that came to the service."""
    return []


@pytest.fixture
def proxy(taken: list[bytes]) -> Iterator[Proxy]:
    """A relay before a service that answers with what it was sent."""
    with Service(("127.0.0.1", 0), type("Kept", (Echo,), {"taken": taken})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        relay = Proxy(free_ports()["s3"], server.server_port)
        try:
            with relay.running():
                yield relay
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[httpx.Client]:
    """Somebody who looks for the service where the relay is."""
    with httpx.Client(base_url=f"http://127.0.0.1:{proxy.port}", trust_env=False, timeout=10) as someone:
        yield someone


def test_bodies_of_both_forms_pass_unchanged_on_one_connection(client: httpx.Client):
    large = bytes(range(256)) * 1000

    assert client.post("/", content=large).content == large
    assert client.post("/", content=iter([b"by ", b"and by"])).content == b"by and by"
    assert client.post("/", content=b"").content == b""


def test_a_share_of_the_requests_suffers_every_trouble(proxy: Proxy, client: httpx.Client):
    answers = []
    with proxy.spoiling(share=0.5, seed=1) as spoiled:
        for _ in range(60):
            try:
                answers.append(client.post("/", content=b"x").status_code)
            except httpx.TransportError:
                answers.append(0)

    assert set(spoiled) == set(TROUBLES)
    assert answers.count(500) == spoiled["500"]
    assert answers.count(503) == spoiled["503"]
    assert answers.count(0) == spoiled["reset"] + spoiled["no reply"]
    assert client.post("/", content=b"x").status_code == 200


@pytest.mark.parametrize(("way", "arrived"), [("there", []), ("back", [b"second"])])
def test_a_kept_request_or_its_reply_never_arrives(
    proxy: Proxy, client: httpx.Client, taken: list[bytes], way, arrived: list[bytes]
):
    def is_wanted(request: Request) -> bool:
        return request.path == "/wanted"

    headers = {"Content-Encoding": "gzip"}
    with proxy.catching(is_wanted, way, passes=1) as catch:
        client.post("/other", content=b"other")
        client.post("/wanted", content=gzip.compress(b"first"), headers=headers)
        cutter = threading.Thread(target=lambda: (catch.wait(10), catch.cut()))
        cutter.start()
        with pytest.raises(httpx.TransportError):
            client.post("/wanted", content=gzip.compress(b"second"), headers=headers)
        cutter.join()

    assert catch.request == Request("POST", "/wanted", b"second")
    assert [body if body == b"other" else gzip.decompress(body) for body in taken] == [b"other", b"first", *arrived]
