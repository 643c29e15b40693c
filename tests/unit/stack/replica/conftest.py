"""An exchange whose clock is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient, TestServer

from stack.replica.clock import Clock
from stack.replica.faults import Faults
from stack.replica.recordings import Recording
from stack.replica.server import Exchange, make_app
from stack.replica.tape import Tape
from tests.unit.stack.replica.market import FIVE


class HandClock(Clock):
    """Time that passes only when told to."""

    def __init__(self, now: int) -> None:
        super().__init__()
        self.slept: list[float] = []
        self._now = now
        self._moved = asyncio.Event()

    def now(self) -> int:
        return self._now

    def advance(self, microseconds: int) -> None:
        self._now += microseconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, due: int) -> None:
        while self._now < due:
            await self._moved.wait()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Client:
    """A client of an exchange, who can also move its clock."""

    def __init__(self, http: TestClient, clock: HandClock, faults: Faults) -> None:
        self.http = http
        self.clock = clock
        self.faults = faults

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.http.get(path) as answer:
            return answer.status, await answer.json()

    async def follow(self, *products: str, channels: list[Any] | None = None) -> ClientWebSocketResponse:
        """Open the feed; with channels, subscribe and read the acknowledgement."""
        socket = await self.http.ws_connect("/coinbase/ws", compress=15)
        if channels:
            await socket.send_json({"type": "subscribe", "product_ids": products, "channels": channels})
            assert (await frame(socket))["type"] == "subscriptions"
        return socket


async def frame(socket: ClientWebSocketResponse) -> dict[str, Any]:
    """Read the next frame; none for ten seconds is a failure."""
    return await socket.receive_json(timeout=10)


async def frames(socket: ClientWebSocketResponse, count: int) -> list[dict[str, Any]]:
    return [await frame(socket) for _ in range(count)]


@pytest.fixture
async def open_exchange() -> AsyncIterator[Callable[..., Any]]:
    """Open an exchange that plays a recording, at a moment after five o'clock."""
    async with AsyncExitStack() as closing:

        async def open_exchange(recording: Recording, *, after: int = 0, **choices: Any) -> Client:
            clock, faults = HandClock(FIVE + after), Faults()
            choices.setdefault("seconds", lambda: 0.0)
            app = make_app(Exchange(Tape(recording, shift_hours=0), clock, faults, **choices))
            http = await closing.enter_async_context(TestClient(TestServer(app)))
            return Client(http, clock, faults)

        yield open_exchange
