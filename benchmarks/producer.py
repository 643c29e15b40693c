"""From the exchange's wire to acknowledged in Kafka: our producer's own path beside a plain one, in turns.

A server of its own process sends the same match frames as fast as they are taken. Ours checks, enters in the books of
its product and sends each frame with five headers; the plain one is what one would write first: `async for`,
`json.loads`, `produce`, `poll`. Both are idempotent with acks=all. Needs a Kafka at LAKE_KAFKA__PORT (`make up`), where
it makes and removes a topic of its own. A round counts only if the topic then holds every frame.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import chain

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.report import table
from include.settings import CHECKOUT, Settings
from streaming.coinbase.feed import Feed
from streaming.delivery import Consignment, Delivery
from streaming.metrics import Metrics
from streaming.product import Product, ProductKey
from streaming.progress import ProgressRecord, iso
from streaming.records import Origin, Record
from streaming.service import collect_garbage_rarely

TOPIC = "benchmark.wire_to_kafka"
PARTITIONS = 4
FRAMES = 100_000
ROUNDS = 5
CHUNK_BYTES = 2**16
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
START = datetime(2026, 11, 20, 9, tzinfo=UTC)


def measure() -> str:
    """Let both take turns, and return the table of their rounds."""
    kafka = Settings.load().kafka.address
    admin = AdminClient({"bootstrap.servers": kafka})
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.producer", "server"], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    with server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            for who in chain.from_iterable((("ours", "plain"), ("plain", "ours"))[turn % 2] for turn in range(ROUNDS)):
                rounds[who].append(_round(who, url, kafka, admin))
        finally:
            server.kill()
    rows = [(who, *(_spread([r[what] for r in rounds[who]]) for what in ("per_cpu", "per_second"))) for who in rounds]
    ratio = statistics.median(r["per_cpu"] for r in rounds["ours"]) / statistics.median(
        r["per_cpu"] for r in rounds["plain"]
    )
    return (
        f"{FRAMES:,} match frames a round, {ROUNDS} rounds in turns; median (least to most).\n\n"
        + table(("who", "frames per CPU second", "frames per second"), rows)
        + f"\n\nOurs takes {ratio:.2f} times the plain one's frames per CPU second."
    )


def _round(who: str, url: str, kafka: str, admin: AdminClient) -> dict[str, float]:
    """Run one of them in a process of its own, and see that nothing is missing.

    Raises:
        RuntimeError: If the topic does not hold every frame exactly once.
    """
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result()
    try:
        command = [sys.executable, "-m", "benchmarks.producer", who, url, kafka]
        told = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True).stdout
        if (held := _held(kafka)) != FRAMES:
            raise RuntimeError(f"{who}: the topic holds {held} records, not {FRAMES}")
        return dict(json.loads(told.splitlines()[-1]))
    finally:
        admin.delete_topics([TOPIC])[TOPIC].result()
        while TOPIC in admin.list_topics(timeout=10).topics:
            time.sleep(0.1)


def _held(kafka: str) -> int:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": TOPIC})
    ends = [consumer.get_watermark_offsets(TopicPartition(TOPIC, number))[1] for number in range(PARTITIONS)]
    consumer.close()
    return sum(ends)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


async def _serve() -> None:
    """Send every connection the same frames, with a heartbeat in a thousand; print the address."""
    frames = []
    for number in range(FRAMES):
        trade_id, product = number // len(PRODUCTS) + 1, PRODUCTS[number % len(PRODUCTS)].encode()
        at = iso(START + timedelta(milliseconds=number)).encode()
        frames.append(
            b'{"type":"match","trade_id":%d,"maker_order_id":"5f4bb11b-f065-4025-ad53-2091b10ad2cf",'
            b'"taker_order_id":"66715b57-0167-4ae9-8b2b-75a064a923f4","side":"buy","size":"0.00004147",'
            b'"price":"116827.85","product_id":"%s","sequence":%d,"time":"%s"}'
            % (trade_id, product, 110614077300 + number, at)
        )
        if number % 1000 == 0:
            frames.append(
                b'{"type":"heartbeat","last_trade_id":%d,"product_id":"%s","sequence":%d,"time":"%s"}'
                % (trade_id, product, 110614077300 + number, at)
            )

    # Written as bytes, many frames at a time: a server in Python that sent them one by one would be what is measured.
    wire = b"".join(b"\x81\x7e" + len(frame).to_bytes(2, "big") + frame for frame in frames)

    async def send(connection: ServerConnection) -> None:
        await connection.recv()
        for at in range(0, len(wire), CHUNK_BYTES):
            connection.transport.write(wire[at : at + CHUNK_BYTES])
            await connection.drain()
        await connection.wait_closed()

    async with serve(send, "127.0.0.1", 0, compression=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


class _ToTopic(Delivery):
    """Our delivery, into the topic of the benchmark."""

    def consignment(self, like: Record) -> Consignment:
        like.topic = TOPIC
        return super().consignment(like)


async def _ours(url: str, kafka: str) -> None:
    """Run the producer's own feed and delivery until every frame is acknowledged and closed."""
    collect_garbage_rarely()
    origin, stop = Origin("coinbase", "spot"), asyncio.Event()
    products = {
        name: Product(
            ProductKey("coinbase", "spot", name), START, ProgressRecord("coinbase", "spot", name, START, START, 0)
        )
        for name in PRODUCTS
    }
    metrics = Metrics("coinbase")
    delivery = _ToTopic(kafka, "benchmark", metrics, refused=lambda *_: None)
    feed = Feed(url, products, origin, delivery, metrics, stop, is_remote=False)
    tasks = [asyncio.create_task(delivery.run()), asyncio.create_task(feed.follow())]
    while metrics.frames["matches"] < FRAMES or delivery.outstanding:
        await asyncio.sleep(0.01)
    for product in products.values():
        product.news()
    if sum(product.last_trade_id or 0 for product in products.values()) != FRAMES:
        raise RuntimeError("the books do not hold every trade")
    stop.set()
    await tasks[1]
    tasks[0].cancel()


async def _plain(url: str, kafka: str) -> None:
    """Do the same as one would write it first."""
    producer = Producer(
        {"bootstrap.servers": kafka, "enable.idempotence": True, "acks": "all", "compression.type": "lz4"}
    )
    delivered = 0

    def on_delivery(error: object, _: object) -> None:
        nonlocal delivered
        if error is not None:
            raise RuntimeError(f"not delivered: {error}")
        delivered += 1

    async with connect(url, compression=None) as connection:
        await connection.send('{"type":"subscribe"}')
        taken = 0
        async for message in connection:
            trade = json.loads(message)
            if trade["type"] != "match":
                continue
            while True:
                try:
                    producer.produce(TOPIC, message, trade["product_id"], on_delivery=on_delivery)
                    break
                except BufferError:
                    producer.poll(0.01)
            producer.poll(0)
            taken += 1
            if taken == FRAMES:
                break
        while delivered < FRAMES:
            producer.poll(0.1)


def _run(follow: Callable[[str, str], Awaitable[None]], url: str, kafka: str) -> None:
    """Run one of them and print what it took."""

    async def timed() -> None:
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        await follow(url, kafka)
        after, seconds = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps({"per_cpu": FRAMES / cpu, "per_second": FRAMES / seconds}))

    asyncio.run(timed())


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(_serve())
    else:
        _run({"ours": _ours, "plain": _plain}[sys.argv[1]], *sys.argv[2:])
