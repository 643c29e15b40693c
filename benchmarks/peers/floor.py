"""The floor: picows receives, confluent-kafka produces the bytes as they are: `floor.py URL KAFKA FRAMES TOPIC`.

Nothing is parsed, keyed, entered in books or reported one by one; that all is acknowledged is known at the end alone.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from confluent_kafka import Producer
from measured import measured
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

URL, KAFKA, FRAMES, TOPIC = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


class Listener(WSListener):
    """Sends on what it receives; other frames than trades are a thousandth, and go with them."""

    def __init__(self) -> None:
        self.producer = Producer(
            {"bootstrap.servers": KAFKA, "enable.idempotence": True, "acks": "all", "compression.type": "lz4"}
        )
        self.left = FRAMES + (FRAMES + 999) // 1000
        self.all_taken = asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Ask for the frames."""
        transport.send(WSMsgType.TEXT, b'{"type":"subscribe"}')

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        """Send one on."""
        payload = frame.get_payload_as_bytes()
        while True:
            try:
                self.producer.produce(TOPIC, payload)
                break
            except BufferError:
                self.producer.poll(0.01)
        if frame.last_in_buffer:
            self.producer.poll(0)
        self.left -= 1
        if not self.left:
            self.all_taken.set()

    def on_ws_disconnected(self, _: WSTransport) -> None:
        """Do not wait for what will not come."""
        self.all_taken.set()


async def follow() -> None:
    """Receive and send on all frames, and wait until Kafka has them."""
    _, listener = await ws_connect(Listener, URL)
    await listener.all_taken.wait()
    while listener.producer.flush(1):
        pass


uvloop.run(measured(follow, FRAMES))
