"""cryptofeed's own Coinbase feed and Kafka backend: `cryptofeed_to_kafka.py URL KAFKA FRAMES`.

Its address, symbols and subscription are those of the benchmark, as it would otherwise ask the exchange; from the frame
to the acknowledgement all is its own. Its backend awaits each acknowledgement before it sends the next trade.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop
from cryptofeed.backends.kafka import TradeKafka
from cryptofeed.connection import AsyncConnection, WebsocketEndpoint
from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Coinbase
from cryptofeed.symbols import Symbols
from measured import measured

URL, KAFKA, FRAMES = sys.argv[1], sys.argv[2], int(sys.argv[3])
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")


class Exchange(Coinbase):
    """Coinbase at the address of the benchmark."""

    websocket_endpoints = [  # noqa: RUF012
        WebsocketEndpoint("wss://benchmark", options={"compression": None}, authentication=True)
    ]

    async def _ws_authentication(self, _: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return URL, options

    async def subscribe(self, connection: AsyncConnection) -> None:
        """Ask for the trades, without the key of an account."""
        await connection.write('{"type":"subscribe"}')


class Backend(TradeKafka):
    """The backend, which says when it has been given every trade."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.given = 0
        self.all_given = asyncio.Event()

    async def write(self, data: dict[str, Any]) -> None:
        """Take one trade."""
        await super().write(data)
        self.given += 1
        if self.given == FRAMES:
            self.all_given.set()


async def follow() -> None:
    """Follow the feed until the backend has sent every trade and seen it acknowledged."""
    Symbols.set(Coinbase.id, {name: name for name in PRODUCTS}, {"instrument_type": {}})
    backend = Backend(bootstrap_servers=KAFKA, acks="all", enable_idempotence=True, compression_type="lz4")
    feed = Exchange(symbols=list(PRODUCTS), channels=[TRADES], callbacks={TRADES: backend})
    feed.start(asyncio.get_running_loop())
    await backend.all_given.wait()
    await backend.queue.join()


uvloop.run(measured(follow, FRAMES))
