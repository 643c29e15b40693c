"""From the exchange's wire to acknowledged in Kafka: our producer's own path beside others, in turns.

A server of its own process sends each the same trades as fast as they are taken; cryptofeed gets them in the format of
the feed that it follows. Ours checks each frame, enters it in the books of its product and sends it with a header.
The plain loop is what one would write first: `async for`, `json.loads`, `produce`, `poll`. cryptofeed writes with its
own Kafka backend. The floor receives with picows and produces the bytes as they are. All are idempotent with acks=all.

Needs a Kafka at LAKE_KAFKA__PORT (`make up`), where it makes and removes topics of its own; the peers are installed in
an environment beside the tools. A round counts only if the topics then hold every trade exactly once.
"""

from __future__ import annotations

import asyncio
import functools
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import uv
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.peers.measured import measured
from benchmarks.report import spread, table
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
ROUNDS = 5
CHUNK_BYTES = 2**16
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
START = datetime(2026, 11, 20, 9, tzinfo=UTC)
FRAMES = {"ours": 300_000, "plain loop": 300_000, "cryptofeed": 10_000, "floor": 300_000}
"""How many each takes in a round; cryptofeed awaits each acknowledgement before it sends the next."""
CRYPTOFEED_TOPICS = tuple(f"trades-COINBASE-{product}" for product in PRODUCTS)
PEERS = CHECKOUT / "benchmarks" / "peers"


def measure() -> str:
    """Let all take turns, and return the table of their rounds."""
    settings = Settings.load()
    kafka, peers = settings.kafka.address, _peers(settings.tools_dir / "peers")
    admin = AdminClient({"bootstrap.servers": kafka})
    rounds: dict[str, list[dict[str, float]]] = {who: [] for who in FRAMES}
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.producer", "server"], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    with server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            for who in FRAMES:  # not counted: the broker's Java compiles what it needs
                _round(who, url, kafka, admin, peers)
            for turn in range(ROUNDS):
                for who in list(FRAMES)[:: -1 if turn % 2 else 1]:
                    rounds[who].append(_round(who, url, kafka, admin, peers))
        finally:
            server.kill()
    per_cpu = {who: statistics.median(one["per_cpu"] for one in rounds[who]) for who in rounds}
    rows = [
        (
            who,
            f"{FRAMES[who]:,}",
            *(spread([one[what] for one in rounds[who]]) for what in ("per_cpu", "per_second")),
            f"{per_cpu['ours'] / per_cpu[who]:.2f}",
        )
        for who in rounds
    ]
    heading = ("who", "trades a round", "trades per CPU second", "trades per second", "ours per CPU second to it")
    return f"{ROUNDS} rounds in turns; median (least to most).\n\n{table(heading, rows)}"


def _peers(folder: Path) -> Path:
    """Return the Python that has the peers; they are kept out of the project's own environment."""
    python, wanted = folder / "bin" / "python", PEERS / "requirements.txt"
    installed = folder / "requirements.txt"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        run = functools.partial(subprocess.run, check=True)
        run([uv.find_uv_bin(), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        run([uv.find_uv_bin(), "pip", "install", "--quiet", "--python", str(python), "--requirement", str(wanted)])
        installed.write_text(wanted.read_text())
    return python


def _round(who: str, url: str, kafka: str, admin: AdminClient, peers: Path) -> dict[str, float]:
    """Run one of them in a process of its own, and see that nothing is missing and nothing is there twice.

    Raises:
        RuntimeError: If the topics do not hold every trade exactly once.
    """
    topics = CRYPTOFEED_TOPICS if who == "cryptofeed" else (TOPIC,)
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics]).values():
        made.result()
    frames = FRAMES[who]
    arguments = [f"{url}/{'advanced' if who == 'cryptofeed' else 'exchange'}/{frames}", kafka, str(frames)]
    commands = {
        "cryptofeed": [str(peers), str(PEERS / "cryptofeed_to_kafka.py"), *arguments],
        "floor": [str(peers), str(PEERS / "floor.py"), *arguments, TOPIC],
    }
    command = commands.get(who) or [sys.executable, "-m", "benchmarks.producer", who, *arguments]
    try:
        told = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
        wanted = Counter((PRODUCTS[number % len(PRODUCTS)], number // len(PRODUCTS) + 1) for number in range(frames))
        held = _held(kafka, topics)
        if held != wanted:
            raise RuntimeError(
                f"{who}: of {frames} trades {(wanted - held).total()} are missing, {(held - wanted).total()} too many"
            )
        return dict(json.loads(told.stdout.splitlines()[-1]))
    finally:
        for gone in admin.delete_topics(list(topics)).values():
            gone.result()
        while set(topics) & set(admin.list_topics(timeout=10).topics):
            time.sleep(0.1)


class _Trade(msgspec.Struct):
    """A trade in a topic, as the exchange or as cryptofeed names its fields."""

    type: str | None = None
    product_id: str = ""
    trade_id: int = 0
    symbol: str = ""
    id: str | None = None


def _held(kafka: str, topics: tuple[str, ...]) -> Counter[tuple[str, int]]:
    """Count each trade in the topics."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": TOPIC, "enable.partition.eof": True})
    consumer.assign([TopicPartition(t, number, OFFSET_BEGINNING) for t in topics for number in range(PARTITIONS)])
    held: Counter[tuple[str, int]] = Counter()
    open_partitions = len(topics) * PARTITIONS
    while open_partitions:
        for message in consumer.consume(10_000, timeout=1):
            if (error := message.error()) is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise RuntimeError(f"the topics cannot be read: {error}")
                open_partitions -= 1
                continue
            trade = msgspec.json.decode(message.value() or b"", type=_Trade)
            if trade.type != "heartbeat":
                held[trade.product_id or trade.symbol, trade.trade_id or int(trade.id or 0)] += 1
    consumer.close()
    return held


@functools.cache
def _wire(kind: str, count: int) -> bytes:
    """Return so many trades as they are on the wire, with a heartbeat in a thousand.

    They are sent many frames at a time: a server in Python that sent them one by one would be what is measured.
    """
    frames = []
    for number in range(count):
        product = PRODUCTS[number % len(PRODUCTS)].encode()
        trade = {
            b"id": number // len(PRODUCTS) + 1,
            b"product": product,
            b"sequence": 110614077300 + number,
            b"at": iso(START + timedelta(milliseconds=number)).encode(),
        }
        frames.append(MATCHES[kind] % trade)
        if number % 1000 == 0:
            frames.append(HEARTBEATS[kind] % trade)
    return b"".join(_header(len(frame)) + frame for frame in frames)


def _header(length: int) -> bytes:
    """Return what precedes a whole text frame of so many bytes."""
    return bytes((0x81, length)) if length < 126 else b"\x81\x7e" + length.to_bytes(2, "big")


MATCHES = {
    "exchange": b'{"type":"match","trade_id":%(id)d,"maker_order_id":"5f4bb11b-f065-4025-ad53-2091b10ad2cf",'
    b'"taker_order_id":"66715b57-0167-4ae9-8b2b-75a064a923f4","side":"buy","size":"0.00004147",'
    b'"price":"116827.85","product_id":"%(product)s","sequence":%(sequence)d,"time":"%(at)s"}',
    "advanced": b'{"channel":"market_trades","client_id":"","timestamp":"%(at)s","sequence_num":%(sequence)d,'
    b'"events":[{"type":"update","trades":[{"trade_id":"%(id)d","product_id":"%(product)s","price":"116827.85",'
    b'"size":"0.00004147","side":"BUY","time":"%(at)s"}]}]}',
}
HEARTBEATS = {
    "exchange": b'{"type":"heartbeat","last_trade_id":%(id)d,"product_id":"%(product)s","sequence":%(sequence)d,'
    b'"time":"%(at)s"}',
    "advanced": b'{"channel":"subscriptions","client_id":"","timestamp":"%(at)s","sequence_num":%(sequence)d,'
    b'"events":[]}',
}


async def _serve() -> None:
    """Send every connection the trades that its path asks for, `/kind/count`; print the address."""

    async def send(connection: ServerConnection) -> None:
        assert connection.request is not None
        _, kind, count = connection.request.path.split("/")
        wire = _wire(kind, int(count))
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

    def offer(self, what: Record | Consignment) -> bool:
        like = what.like if isinstance(what, Consignment) else what
        like.topic = TOPIC
        return super().offer(what)


async def _ours(url: str, kafka: str, frames: int) -> None:
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
    while metrics.frames["matches"] < frames or delivery.outstanding:
        await asyncio.sleep(0.01)
    for product in products.values():
        product.news()
    if sum(product.last_trade_id or 0 for product in products.values()) != frames:
        raise RuntimeError("the books do not hold every trade")
    stop.set()
    await tasks[1]
    tasks[0].cancel()


async def _plain(url: str, kafka: str, frames: int) -> None:
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
            if taken == frames:
                break
        while delivered < frames:
            producer.poll(0.1)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(_serve())
    else:
        who, url, kafka, frames = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
        follow = {"ours": _ours, "plain loop": _plain}[who]
        asyncio.run(measured(lambda: follow(url, kafka, frames), frames))
