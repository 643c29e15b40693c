"""A relay between a service and its HTTP clients that spoils what passes, as a network or a busy server would."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Literal

LOCALHOST = "127.0.0.1"
CHUNK = 1 << 16
LARGEST_HEAD = 1 << 18
LINGER_SECONDS = 0.5
"""How long a refused client may go on sending: closed at once, it might lose the answer."""
TROUBLES = ("500", "503", "reset", "no reply")

Way = Literal["there", "back"]


@dataclass(frozen=True)
class Request:
    """One request whole.

    Args:
        body: Without the chunks and the compression of its way.
    """

    method: str
    path: str
    body: bytes


@dataclass
class Catch:
    """A request that is kept: on its way there, so that the service never sees it, or back, with the reply."""

    wanted: Callable[[Request], bool]
    way: Way
    passes: int
    request: Request | None = None
    _is_caught: threading.Event = field(default_factory=threading.Event)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def wait(self, within: float) -> Request:
        """Return the request once it is where it is to be kept; it stays there until `cut`."""
        assert self._is_caught.wait(within), f"waited {within:.0f} s in vain for a request to keep"
        assert self.request is not None
        return self.request

    def cut(self) -> None:
        """Cut the connection of what is kept."""
        self._is_over.set()

    def takes(self, request: Request) -> bool:
        """Whether this is the request to keep; those before it pass."""
        if self.request is not None or self._is_over.is_set() or not self.wanted(request):
            return False
        self.passes -= 1
        if self.passes >= 0:
            return False
        self.request = request
        return True

    async def keep(self) -> None:
        """Stay in the way until `cut`."""
        self._is_caught.set()
        await asyncio.to_thread(self._is_over.wait)


class Proxy:
    """Listens where clients look for a service, and relays to where it is.

    Args:
        port: Where clients look.
        server_port: Where the service listens.
    """

    def __init__(self, port: int, server_port: int) -> None:
        self._spoiled: Counter[str] = Counter()
        self.port = port
        self._server_port = server_port
        self._share, self._chance = 0.0, Random(0)
        self._catch: Catch | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Relay, in a thread of its own."""
        loop, stop, is_up = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._run(stop, is_up),), name="proxy")
        thread.start()
        try:
            assert is_up.wait(10), f"nothing can listen on {self.port}"
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    @contextmanager
    def spoiling(self, share: float, seed: int) -> Iterator[Counter[str]]:
        """Let a share of all requests suffer one of `TROUBLES`; gives how many suffered each so far."""
        self._spoiled = Counter()
        self._chance, self._share = Random(seed), share
        try:
            yield self._spoiled
        finally:
            self._share = 0.0

    @contextmanager
    def catching(self, wanted: Callable[[Request], bool], way: Way, passes: int = 0) -> Iterator[Catch]:
        """Keep one request; its connection is cut at the end.

        Args:
            passes: How many such requests pass before it.
        """
        self._catch = catch = Catch(wanted, way, passes)
        try:
            yield catch
        finally:
            self._catch = None
            catch.cut()

    async def _run(self, stop: asyncio.Event, is_up: threading.Event) -> None:
        connections: set[asyncio.Task[None]] = set()

        async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            task.add_done_callback(connections.discard)
            try:
                await self._serve(client, to_client)
            except (OSError, asyncio.IncompleteReadError):
                pass  # either side may go at any moment
            finally:
                _abort(to_client)

        async with await asyncio.start_server(serve, LOCALHOST, self.port, limit=LARGEST_HEAD):
            is_up.set()
            await stop.wait()
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(LOCALHOST, self._server_port, limit=LARGEST_HEAD)
        relay = _Relay(server, to_client)
        back = asyncio.create_task(relay.run())
        try:
            while head := await _head(client):
                if await self._pass_on(head, client, to_client, to_server, relay):
                    return
        finally:
            # Before anything is awaited: whoever stops the relay may cancel this too.
            _abort(to_server)
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    async def _pass_on(
        self,
        head: _Head,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
        relay: _Relay,
    ) -> bool:
        """Relay one request, or spoil it; return whether its connection ends here."""
        trouble = self._chance.choice(TROUBLES) if self._chance.random() < self._share else None
        if trouble is not None:
            self._spoiled[trouble] += 1
        if trouble in ("500", "503"):
            to_client.write(f"HTTP/1.1 {trouble} Spoiled\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await to_client.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while await client.read(CHUNK):
                        pass
            return True
        if trouble == "reset":
            return True
        if trouble == "no reply":
            relay.keep_until(_at_once)
        # Who expects a word before it sends the body cannot be read whole.
        if (catch := self._catch) is None or head.method == "GET" or "expect" in head.headers:
            to_server.write(head.wire)
            async for wire, _ in _body(head, client):
                to_server.write(wire)
                await to_server.drain()
            return False
        pieces = [piece async for piece in _body(head, client)]
        request = Request(head.method, head.path, head.decoded(b"".join(payload for _, payload in pieces)))
        if catch.takes(request):
            if catch.way == "there":
                await catch.keep()
                return True
            relay.keep_until(catch.keep)
        to_server.write(head.wire + b"".join(wire for wire, _ in pieces))
        await to_server.drain()
        return False


class _Relay:
    """What comes back from the service, on its way to one client."""

    def __init__(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._server = server
        self._to_client = to_client
        self._keep: Callable[[], Awaitable[None]] | None = None

    def keep_until(self, released: Callable[[], Awaitable[None]]) -> None:
        """Give the client nothing more; cut its connection when that is over which begins with the next reply."""
        self._keep = released

    async def run(self) -> None:
        """Relay until the service closes the connection."""
        try:
            while data := await self._server.read(CHUNK):
                if self._keep is not None and not data.startswith(b"HTTP/1.1 100"):
                    await self._keep()
                    _abort(self._to_client)
                    return
                self._to_client.write(data)
                await self._to_client.drain()
            self._to_client.close()
        except OSError:
            _abort(self._to_client)


@dataclass(frozen=True)
class _Head:
    """A request's first lines, without the offer to go on with HTTP/2."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def wire(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {text}" for name, text in self.headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def decoded(self, body: bytes) -> bytes:
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body


async def _head(client: asyncio.StreamReader) -> _Head | None:
    """Read a request's head; None if the client has gone."""
    try:
        text = (await client.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = text.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.pop("upgrade", None):
        headers.pop("http2-settings", None)
        headers["connection"] = "keep-alive"
    return _Head(method, path, headers)


async def _body(head: _Head, client: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    """Give a request's body piece by piece: as it travels, and what it says."""
    if head.headers.get("transfer-encoding", "").lower() == "chunked":
        size = 1
        while size:
            line = await client.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            data = await client.readexactly(size + 2)
            yield line + data, data[:-2]
    left = int(head.headers.get("content-length", 0))
    while left:
        if not (data := await client.read(min(left, CHUNK))):
            raise ConnectionResetError
        left -= len(data)
        yield data, data


async def _at_once() -> None:
    """Keep nothing for any time."""


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection as if its cable was cut: with a reset, and without what has not been sent."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
