"""Dead letters go exactly once, whatever is killed. The broker is the stack's own, alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from include.lease import Lease
from include.settings import CHECKOUT
from streaming.replays import UNKNOWN
from tests.drivers.kafka import Kafka
from tests.drivers.running_stack import RunningStack, broker_alone

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

MATCH = (
    '{"type":"match","trade_id":%d,"side":"buy","size":"0.1","price":"1.5","product_id":"BTC-USD",'
    '"time":"2026-11-20T09:59:%02d.012637Z"}'
)
BYBIT_TRADE = '{"T":1795165201%03d,"s":"BTCUSDT","S":"Buy","v":"1","p":"2","i":"%d","seq":9}'
BYBIT_FRAME = '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1795165201000,"data":[%s]}'
HEADERS = {"market": "spot", "received_at": "1795165201000000", "reason": "old"}
LETTERS = 48
"""Readable letters of each venue; a frame of Bybit's has three trades."""
CUTS = 6
MARKED = 2
"""The step after which one letter is marked as begun, and not yet sent."""

Record = tuple[str, bytes, bytes, dict[str, bytes]]


@pytest.fixture(scope="module")
def broker() -> Iterator[RunningStack]:
    """A broker with the topics of the contracts, and nothing else of a stack."""
    with broker_alone({"LAKE_FOLLOW_BYBIT": "true", "LAKE_PRODUCTS": "BTC-USD"}) as stack:
        yield stack


def bury(broker: RunningStack, venue: str, *values: str, **headers: str) -> list[str]:
    """Put letters into a venue's topic and return their places."""
    kafka, topic = Kafka(broker.settings), f"{venue}.dlq"
    first = kafka.end_offsets(topic)[0]
    kafka.produce(topic, venue, [value.encode() for value in values], [*(HEADERS | headers).items()])
    return [f"{topic}/0/{first + number}" for number in range(len(values))]


def start(broker: RunningStack, *module: str) -> subprocess.Popen[str]:
    """Start a replay that waits for its letters."""
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=CHECKOUT,
        env=broker.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def replay(broker: RunningStack, places: list[str]) -> dict[str, dict[str, Any]]:
    """Replay letters to the end and return what became of each."""
    process = start(broker, "streaming.replays")
    told, _ = process.communicate("\n".join(places), timeout=120)
    assert process.returncode == 0, told
    lines = [json.loads(line) for line in told.splitlines()]
    return {line["letter"]: line for line in lines if "letter" in line}


def records(broker: RunningStack, topic: str) -> list[Record]:
    """Return all records of a topic: topic, key, value and headers."""
    consumer = Consumer(
        {"bootstrap.servers": broker.settings.kafka.address, "group.id": "tests", "enable.partition.eof": True}
    )
    partitions = Kafka(broker.settings).end_offsets(topic)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    found: list[Record] = []
    left = len(partitions)
    while left:
        message = consumer.poll(30)
        assert message is not None, f"{topic} gives nothing"
        if message.error() is not None:
            assert message.error().code() == KafkaError._PARTITION_EOF
            left -= 1
        else:
            found.append((topic, message.key(), message.value(), dict(message.headers() or ())))
    consumer.close()
    return found


def replayed(broker: RunningStack, places: list[str]) -> Counter[tuple[bytes, ...]]:
    """Count the records that were made of letters, by topic, letter, place in the frame and value."""
    wanted = {place.encode() for place in places}
    return Counter(
        (topic.encode(), headers["replay_of"], headers["frame_index"], value)
        for raw in ("coinbase.raw.trades", "bybit.raw.trades")
        for topic, _, value, headers in records(broker, raw)
        if headers.get("replay_of") in wanted
    )


def test_a_replay_that_is_killed_again_and_again_sends_each_letter_once(broker: RunningStack, seed: int):
    choice = random.Random(seed)
    matches = [MATCH % (seed * 1000 + number, number % 60) for number in range(LETTERS)]
    trades = [[BYBIT_TRADE % (number, number * 3 + part) for part in range(3)] for number in range(LETTERS)]
    coinbase = bury(broker, "coinbase", *matches)
    bybit = bury(broker, "bybit", *(BYBIT_FRAME % ",".join(frame) for frame in trades), market="linear")
    places = [*coinbase, *bybit]
    choice.shuffle(places)

    cut = 0
    for _ in range(CUTS):
        process = start(broker, "tests.drivers.cut_short", str(choice.randint(1, 120)), str(choice.random())[2:8])
        process.communicate("\n".join(places), timeout=120)
        cut += process.returncode == -9
    told = replay(broker, places)

    assert cut >= CUTS // 2, "nearly no replay was killed"
    assert {line["message"] for line in told.values()} <= {"replayed", "replayed before"}
    assert replayed(broker, places) == Counter(
        [
            (b"coinbase.raw.trades", place.encode(), b"0", value.encode())
            for place, value in zip(coinbase, matches, strict=True)
        ]
        + [
            (b"bybit.raw.trades", place.encode(), b"%d" % index, value.encode())
            for place, frame in zip(bybit, trades, strict=True)
            for index, value in enumerate(frame)
        ]
    )
    assert {line["message"] for line in replay(broker, places).values()} == {"replayed before"}


def test_a_record_is_as_the_producer_would_have_sent_it_and_says_which_letter_it_was(broker: RunningStack):
    [place] = bury(broker, "coinbase", MATCH % (77, 5))

    told = replay(broker, [place])

    assert (told[place]["message"], told[place]["hours"]) == ("replayed", ["2026-11-20T09"])
    [(_, key, value, headers)] = [
        record for record in records(broker, "coinbase.raw.trades") if record[3]["replay_of"] == place.encode()
    ]
    assert (key, value) == (b"BTC-USD", (MATCH % (77, 5)).encode())
    assert headers == {
        "source": b"ws",
        "venue": b"coinbase",
        "market": b"spot",
        "received_at": b"1795165201000000",
        "frame_index": b"0",
        "replay_of": place.encode(),
    }


def test_what_cannot_be_read_today_stays_with_its_reason_and_what_is_gone_is_named(broker: RunningStack):
    [half, stranger] = bury(broker, "coinbase", (MATCH % (1, 1))[:40], (MATCH % (2, 2)).replace("BTC-USD", "X-USD"))
    gone = "coinbase.dlq/0/999999999"

    told = replay(broker, [half, stranger, gone])

    assert {place: line["message"] for place, line in told.items()} == {half: "stays", stranger: "stays", gone: "gone"}
    assert "truncated" in told[half]["reason"]
    assert told[stranger]["reason"] == "X-USD is not followed"
    assert not replayed(broker, [half, stranger])
    assert replay(broker, [half])[half]["message"] == "stays"


def test_a_letter_that_was_begun_so_long_ago_that_nobody_knows_whether_it_was_sent_is_not_sent(broker: RunningStack):
    [place] = bury(broker, "coinbase", MATCH % (79, 7))
    cut = start(broker, "tests.drivers.cut_short", str(MARKED), "1")
    cut.communicate(place, timeout=60)
    kafka, topic = Kafka(broker.settings), "coinbase.raw.trades"
    for number in range(20):
        kafka.produce(topic, f"any-{number}", [b"{}"])
    ends = [TopicPartition(topic, part, end) for part, end in kafka.end_offsets(topic).items()]
    admin = AdminClient({"bootstrap.servers": broker.settings.kafka.address})
    for deleted in admin.delete_records(ends).values():
        deleted.result(30)

    told = replay(broker, [place])

    assert cut.returncode == -9
    assert (told[place]["message"], told[place]["reason"]) == ("stays", UNKNOWN)
    assert not replayed(broker, [place])


def test_no_letter_is_replayed_beside_another_replay(broker: RunningStack):
    [place] = bury(broker, "coinbase", MATCH % (78, 6))
    with Lease(Path(broker.state), "replays"):
        refused = start(broker, "streaming.replays")
        told, _ = refused.communicate(place, timeout=60)

    assert refused.returncode != 0
    assert "replays is already running" in told
    assert not replayed(broker, [place])
