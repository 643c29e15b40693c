"""Whatever fails on the way from the exchange to Bronze, no trade is lost, no offset is there twice, and nobody helps.

Each fault strikes where and when its seed has it. `--seed` gives one again, `--seeds` runs several.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan

from tests.drivers.ingestion import (
    HOUR_SECONDS,
    PRODUCTS,
    RAW,
    RECOVERED_WITHIN,
    REPAIRED,
    UNREADABLE,
    Ingestion,
    Log,
    pause,
)
from tests.drivers.proxy import TROUBLES, Request
from tests.drivers.waiting import eventually
from tests.truth.recorder import wire_time
from tests.truth.tape import HOUR

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

WRITER, PRODUCER = "bronze-writer", "producer-coinbase"
HEARTBEATS_SECONDS = 2.5
ENOUGH_MISSED = 5000
MANY_CALLS = 20
HURRIED_HOUR = HOUR.total_seconds() / HOUR_SECONDS
FIVE_MINUTES, TEN_MINUTES, DAY_AND_HOUR = 300, 600, 90_000
"""Seconds."""
HURRY = 300
"""At this speed some seven thousand trades or more are missed until a lost feed is noticed and followed again."""

ON_EITHER = pytest.mark.parametrize(
    "checkpoints", ["disk", pytest.param("s3", marks=pytest.mark.thorough)], indirect=True, scope="module"
)


@pytest.fixture(scope="module", autouse=True, params=["disk"])
def checkpoints(ingestion: Ingestion, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the writer keeps its checkpoints: on the `disk`, or for tests that say so on `s3`, which come last."""
    if request.param == "disk":
        yield "disk"
        return
    ingestion.keep_checkpoints(request.param)
    yield request.param
    ingestion.keep_checkpoints("disk")
    ingestion.assert_nothing_is_lost()


def commit_to(table: str) -> Callable[[Request], bool]:
    """Recognise the request by which Nessie commits to a table."""
    key = table.split(".")

    def is_commit(request: Request) -> bool:
        if request.method != "POST" or "/history/commit" not in request.path:
            return False
        return any(operation["key"]["elements"] == key for operation in json.loads(request.body)["operations"])

    return is_commit


def kill_writer_at_a_commit(ingestion: Ingestion, way: Any, passes: int, table: str = "bronze.trades") -> None:
    """End the writer while a commit is on its way to Nessie, or its reply on the way back."""
    with ingestion.nessie.catching(commit_to(table), way, passes) as catch:
        catch.wait(RECOVERED_WITHIN)
        ingestion.kill(WRITER)


@ON_EITHER
def test_writer_killed_after_the_data_files_and_before_the_commit(
    ingestion: Ingestion, chance: Random, checkpoints: str
):
    kill_writer_at_a_commit(ingestion, "there", passes=chance.randrange(3))

    ingestion.assert_nothing_is_lost()


@ON_EITHER
def test_writer_killed_after_the_commit_and_before_the_checkpoint(
    ingestion: Ingestion, chance: Random, checkpoints: str
):
    kill_writer_at_a_commit(ingestion, "back", passes=chance.randrange(3))

    ingestion.assert_nothing_is_lost()


@ON_EITHER
def test_manifests_merged_and_snapshots_expired_between_a_commit_and_its_checkpoint(
    ingestion: Ingestion, chance: Random, checkpoints: str
):
    # There must be something to expire, whatever ran before.
    kill_writer_at_a_commit(ingestion, "back", passes=chance.randint(3, 5))
    ingestion.stack.supervisor.stop(WRITER)
    before = set(ingestion.snapshots("bronze.trades"))

    upkeep = ingestion.stack.run("spark-submit", "tests/drivers/later_upkeep.py", "bronze.trades", timeout=300)
    kept = set(ingestion.snapshots("bronze.trades"))
    ingestion.stack.supervisor.launch(WRITER)

    assert upkeep.returncode == 0, upkeep.stdout
    assert before - kept, "no snapshot expired"
    assert kept - before, "no manifests were merged"
    ingestion.assert_nothing_is_lost()


@ON_EITHER
def test_checkpoint_lost_with_a_batch_that_is_not_in_it(ingestion: Ingestion, chance: Random, checkpoints: str):
    kill_writer_at_a_commit(ingestion, "back", passes=chance.randrange(3))
    ingestion.stack.supervisor.stop(WRITER)
    ingestion.lose_of_checkpoint(checkpoints, chance.choice(("", "commits", "metadata", "offsets")))
    # The first batch of a query that begins anew is one that does not say where it began.
    ingestion.kafka.produce(RAW, "BTC-USD", [f"the first after a loss {chance.random()}".encode()])

    ingestion.stack.supervisor.launch(WRITER)

    ingestion.assert_nothing_is_lost()


def test_writer_killed_between_garbled_records_and_their_letters(ingestion: Ingestion, chance: Random):
    garbled = [f"garbled {chance.random()}".encode() for _ in range(chance.randint(1, 9))]
    with ingestion.nessie.catching(commit_to("bronze.dead_letters"), "there") as catch:
        ingestion.kafka.produce(RAW, "BTC-USD", garbled)
        catch.wait(RECOVERED_WITHIN)
        ingestion.kill(WRITER)

    ingestion.assert_nothing_is_lost()
    letters = ingestion.lake.rows("bronze.dead_letters", columns=["_kafka_topic", "_raw_bytes_base64"])
    texts = letters.filter(pl.col("_kafka_topic") == RAW)["_raw_bytes_base64"].to_list()
    assert {
        frame: n for frame, n in Counter(map(base64.b64decode, texts)).items() if frame in garbled
    } == dict.fromkeys(garbled, 1)


def test_reply_to_a_commit_lost(ingestion: Ingestion, chance: Random):
    with ingestion.nessie.catching(commit_to("bronze.trades"), "back", passes=chance.randrange(3)) as catch:
        catch.wait(RECOVERED_WITHIN)

    ingestion.assert_nothing_is_lost()


def test_nessie_down(ingestion: Ingestion, chance: Random):
    log = ingestion.log(WRITER)
    pause(chance.uniform(0, 3))
    ingestion.kill("nessie")
    ingestion.stack.supervisor.stop("nessie")
    log.says("a query failed", within=RECOVERED_WITHIN)

    ingestion.stack.supervisor.launch("nessie")

    ingestion.assert_nothing_is_lost()


def test_store_and_nessie_killed(ingestion: Ingestion, chance: Random):
    pause(chance.uniform(0, 3))
    for service in ("s3", "nessie"):
        ingestion.kill(service)

    ingestion.assert_nothing_is_lost()


def test_store_fails_a_fifth_of_all_calls(ingestion: Ingestion, seed: int):
    with ingestion.s3.spoiling(share=0.2, seed=seed) as spoiled:
        eventually(lambda: spoiled.total() >= MANY_CALLS, within=RECOVERED_WITHIN, what=f"{MANY_CALLS} spoiled calls")
        ingestion.goes_on()

    assert set(spoiled) == set(TROUBLES)
    ingestion.assert_nothing_is_lost()


def test_broker_killed(ingestion: Ingestion, chance: Random):
    pause(chance.uniform(0, 3))
    ingestion.kill("kafka")

    ingestion.assert_nothing_is_lost()


def test_broker_frozen_for_longer_than_the_producer_is_patient(ingestion: Ingestion, chance: Random):
    log = ingestion.log(PRODUCER)
    pause(chance.uniform(0, 3))
    with ingestion.frozen("kafka"):
        log.says("Kafka does not acknowledge in time", within=60)

    ingestion.assert_nothing_is_lost()


@pytest.mark.parametrize(
    ("disk", "service", "words"),
    [
        ("data/kafka", "kafka", "No space left on device"),
        ("data/s3", WRITER, "a query failed"),
        ("checkpoints", WRITER, "a query failed"),
    ],
)
def test_disk_full(ingestion: Ingestion, seed: int, disk: str, service: str, words: str):
    pause(Random(seed).uniform(0, 3))
    log = ingestion.log(service)

    with ingestion.full(disk):
        log.says(words, within=RECOVERED_WITHIN)

    ingestion.assert_nothing_is_lost()


def test_machine_that_slept_for_two_hours(ingestion: Ingestion):
    with ExitStack() as asleep:
        for service in (PRODUCER, "kafka", WRITER, "nessie", "s3"):
            asleep.enter_context(ingestion.frozen(service))
        with ingestion.exchange.hurrying(HURRY):
            woken = ingestion.exchange.now() + 2 * HOUR
            eventually(lambda: ingestion.exchange.now() >= woken, within=120, what=f"{woken} at the exchange")

    ingestion.assert_nothing_is_lost()


def test_half_open_feed_is_noticed_within_two_heartbeats(ingestion: Ingestion, seed: int):
    replica, producer = ingestion.log("replica"), ingestion.log(PRODUCER)
    ingestion.exchange.misbehave({"kind": "stall", "seconds": 600, "chance": 0.2}, seed=seed)
    producer.says("the feed is lost", within=60)

    stalled = next(line for line in lines_of(replica) if "fault injected" in line["message"])
    lost = next(line for line in lines_of(producer) if line["message"] == "the feed is lost")
    assert "the heartbeat of" in lost["reason"]
    # As much again for a machine that is busy with other things.
    assert seconds_between(stalled, lost) < 2 * HEARTBEATS_SECONDS
    ingestion.assert_nothing_is_lost()


def test_thousands_of_missed_trades_are_fetched_from_a_slow_history(
    ingestion: Ingestion, seed: int, record_property: Callable[[str, object], None]
):
    with ingestion.exchange.hurrying(HURRY):
        ingestion.wait_until_closed()
        producer = ingestion.log(PRODUCER)
        ingestion.exchange.misbehave(
            {"kind": "delay", "seconds": 0.1, "path": "/trades"},
            {"kind": "too_many_requests", "chance": 0.1, "times": None, "path": "/trades"},
            {"kind": "stall", "seconds": 1e6},
            seed=seed,
        )
        producer.says("the feed is lost", within=60)
        gaps = eventually(lambda: repaired(producer), within=RECOVERED_WITHIN, what="the missed trades", every=0.5)
    record_property(REPAIRED, gaps)

    assert sum(count for count, _ in gaps) >= ENOUGH_MISSED
    ingestion.assert_nothing_is_lost()


def test_producer_killed_with_a_full_queue(ingestion: Ingestion, chance: Random):
    came_by_rest = EqualTo("_source", "rest")
    before = len(ingestion.lake.rows("bronze.trades", came_by_rest, columns=["trade_id"]))
    with ingestion.exchange.hurrying(HURRY):
        ingestion.wait_until_closed()
        producer = ingestion.log(PRODUCER)
        with ingestion.frozen("kafka"):
            producer.says("the queue to Kafka is full", within=RECOVERED_WITHIN)
            pause(chance.uniform(0, 2))
            ingestion.kill(PRODUCER)

    ingestion.assert_nothing_is_lost()
    after = len(ingestion.lake.rows("bronze.trades", came_by_rest, columns=["trade_id"]))
    assert after - before >= ENOUGH_MISSED


def test_hour_that_comes_twice_late_and_out_of_order(ingestion: Ingestion, seed: int):
    faults = (
        {"kind": "repeat", "chance": 0.3, "copies": 2},
        {"kind": "reorder", "chance": 0.005, "count": 5},
        {"kind": "late", "chance": 0.002, "seconds": FIVE_MINUTES},
        {"kind": "stale", "chance": 0.01, "seconds": FIVE_MINUTES},
        {"kind": "stale", "chance": 0.01, "seconds": DAY_AND_HOUR},
    )
    with ingestion.exchange.hurrying(HURRIED_HOUR):
        ingestion.wait_until_closed()
        hour, past = ingestion.rest_of_an_hour()
        ingestion.exchange.misbehave(*(fault | {"times": None} for fault in faults), seed=seed)
        past(0.7)
        ingestion.exchange.behave()
        past(1.0)
        injected = {kind: ingestion.exchange.injected(kind) for kind in ("repeat", "reorder", "late", "stale")}
    ingestion.see_it_whole(hour)
    ingestion.kafka.produce_again([*ingestion.records_of(hour)])

    ingestion.assert_nothing_is_lost()
    assert all(injected.values())
    old = [stale for stale in injected["stale"] if stale["seconds"] == DAY_AND_HOUR]
    there = set(ingestion.lake.rows("bronze.trades", columns=["product_id", "trade_id"]).iter_rows())
    assert old
    assert {(stale["product_id"], str(*stale["trade_ids"])) for stale in old} <= there
    ingestion.assert_silver_is_true(hour)


def test_hour_of_a_clock_ten_minutes_off(ingestion: Ingestion, chance: Random):
    first = chance.choice((-1, 1)) * TEN_MINUTES
    ingestion.stack.supervisor.stop(PRODUCER)
    with ingestion.exchange.hurrying(HURRIED_HOUR):
        with ingestion.producer_by_a_wrong_clock(first):
            hour, past = ingestion.rest_of_an_hour()
            past(0.5)
        with ingestion.producer_by_a_wrong_clock(-first):
            ingestion.see_it_whole(hour)
    ingestion.stack.supervisor.launch(PRODUCER)

    ingestion.assert_nothing_is_lost()
    arrived = ingestion.lake.rows("bronze.trades", columns=["_ingested_at"])["_ingested_at"]
    assert arrived.max() - datetime.now(UTC) > timedelta(seconds=TEN_MINUTES / 2)
    ingestion.assert_silver_is_true(hour)


def test_frames_that_nobody_can_read(ingestion: Ingestion, seed: int):
    began = {topic: ingestion.kafka.end_offsets(topic) for topic in (RAW, UNREADABLE)}
    known = len(ingestion.exchange.injected("broken"))
    unreadable = poison(Random(seed))
    ingestion.exchange.misbehave(
        {"kind": "broken", "chance": 0.05, "times": None},
        {"kind": "broken", "chance": 0.05, "times": None, "instead": True},
        seed=seed,
    )
    for garbled in unreadable:
        ingestion.kafka.produce(RAW, "BTC-USD", [garbled])
        pause(0.2)  # in batches of their own, too
    eventually(lambda: len(ingestion.exchange.injected("broken")) > known + MANY_CALLS, within=60, what="broken frames")
    ingestion.exchange.behave()

    ingestion.assert_nothing_is_lost()
    ingestion.wait_for_letters(UNREADABLE)
    broken = ingestion.exchange.injected("broken")[known:]
    assert Counter(ingestion.letters(UNREADABLE, began[UNREADABLE])) == Counter(
        half["frame"].encode() for half in broken
    )
    assert Counter(ingestion.letters(RAW, began[RAW])) == Counter(garbled or b"" for garbled in unreadable)


def poison(chance: Random) -> list[bytes | None]:
    """Return records of which each has once been known to break a reader."""
    trade = b'{"type":"match","trade_id":1,"product_id":"BTC-USD","time":"2026-01-01T00:00:00Z","price":"1","size":"1"}'
    return [
        None,
        b"",
        b"\0" * chance.randint(1, 99),
        chance.randbytes(chance.randint(1, 9999)) + b"\xff",
        trade.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + trade,
        trade[: chance.randrange(1, len(trade))],
        trade + trade,
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"trade_id":' + b"9" * 100_000 + b"}",
        b'"' + b"x" * 900_000 + b'"',
        b"null",
        b"{}",
        b"[" + trade + b"]",
    ]


def test_messages_that_change(ingestion: Ingestion, seed: int):
    began, known = ingestion.kafka.end_offsets(UNREADABLE), len(ingestion.exchange.injected("changed_type"))
    other_types = ("price", "trade_id", "side", "time")
    ingestion.exchange.misbehave(
        *({"kind": "changed_type", "field": field, "chance": 0.02, "times": None} for field in other_types),
        {"kind": "new_field", "field": "liquidity", "chance": 0.2, "times": None},
        seed=seed,
    )
    eventually(lambda: len(ingestion.exchange.injected("changed_type")) > known + MANY_CALLS, within=60, what="frames")
    ingestion.exchange.behave()

    ingestion.assert_nothing_is_lost()
    ingestion.wait_for_letters(UNREADABLE)
    changed = ingestion.exchange.injected("changed_type")[known:]
    assert Counter(ingestion.letters(UNREADABLE, began)) == Counter(frame["frame"].encode() for frame in changed)
    kept = set(ingestion.lake.rows("bronze.trades", columns=["_raw_payload"])["_raw_payload"])
    assert {frame["frame"] for frame in ingestion.exchange.injected("new_field")} <= kept


def test_two_producers_at_once(ingestion: Ingestion, chance: Random):
    in_charge, rival = ingestion.stack.process(PRODUCER), ("rival", "-m", "streaming.coinbase")
    said = ingestion.log("rival")
    with ingestion.beside(*rival) as second:
        assert second.wait(60) == 1
    said.says(f"producer-coinbase is already running: pid {in_charge.pid}", within=1)
    assert in_charge.is_running()

    # The one in charge dies, and two are there to take its place.
    with ingestion.beside(*rival):
        pause(chance.uniform(0.5, 2.5))
        ingestion.kill(PRODUCER)
        connections = []
        for _ in range(20):
            pause(0.25)
            connections.append(ingestion.exchange.health()["connections"])
        ingestion.goes_on()

    assert max(connections) == 1
    ingestion.assert_nothing_is_lost()


def test_two_supervisors_at_once(ingestion: Ingestion, chance: Random):
    before = ingestion.stack.process(PRODUCER).pid
    with supervisor_of(PRODUCER, "first", ingestion) as first, supervisor_of(PRODUCER, "second", ingestion) as second:
        for supervisor in (first, second):
            assert heard(supervisor) == "ready"
            tell(supervisor)
            assert heard(supervisor) == "in charge"
        # Both have found the producer in trouble; the first was taken for dead, and is not.
        for supervisor in chance.sample((first, second), k=2):
            tell(supervisor)
        assert heard(second) == "stopped"
        with supervisor_of(PRODUCER, "third", ingestion) as third:
            assert heard(third) == "ready"
            tell(third)
            # The second one is in the middle of a restart, for whose end the third waits, and is killed there.
            pause(chance.uniform(0.5, 1))
            second.kill()
            for step in ("in charge", "stopped", "started"):
                assert heard(third) == step
                if step != "started":
                    tell(third)
        # Before the second one acted, or when it was its turn after that: never did it act itself.
        assert heard(first) == "fenced off"

    assert ingestion.stack.process(PRODUCER).pid != before
    ingestion.assert_nothing_is_lost()


def supervisor_of(service: str, name: str, ingestion: Ingestion) -> subprocess.Popen[str]:
    """Start a supervisor that goes on step by step."""
    driver = "tests.drivers.one_of_two_supervisors"
    return ingestion.stack.start("run", sys.executable, "-m", driver, name, service)


def tell(supervisor: subprocess.Popen[str]) -> None:
    """Let a supervisor take its next step."""
    assert supervisor.stdin is not None
    supervisor.stdin.write("\n")
    supervisor.stdin.flush()


def heard(supervisor: subprocess.Popen[str]) -> str:
    """Return what a supervisor says next."""
    assert supervisor.stdout is not None
    return supervisor.stdout.readline().strip()


def test_supervisord_started_twice(ingestion: Ingestion):
    before = ingestion.pids()
    configuration = ingestion.stack.state / "conf" / "supervisord.conf"
    second = ingestion.stack.run(sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration), timeout=60)
    ups = [ingestion.stack.start("up", "--only", PRODUCER) for _ in range(2)]
    said = [up.communicate(timeout=120)[0] for up in ups]

    assert second.returncode != 0, second.stdout
    assert "already listening" in second.stdout
    assert min(up.returncode for up in ups) == 0, said
    assert all(up.returncode == 0 or "Another command is starting" in text for up, text in zip(ups, said, strict=True))
    assert ingestion.pids() == before
    ingestion.assert_nothing_is_lost()


def test_history_from_before_is_fetched_whole_by_who_is_killed_again_and_again(ingestion: Ingestion, chance: Random):
    begin = ingestion.stack.settings.first_hour
    assert begin is not None
    since = begin - HOUR
    command = (sys.executable, "-m", "streaming.coinbase.past", f"{since:%Y-%m-%dT%H}")
    for _ in range(3):
        with ingestion.stack.starting(*command) as fetching:
            pause(chance.uniform(1, 12))
            fetching.kill()

    done = ingestion.stack.run(*command, timeout=300)

    assert done.returncode == 0, done.stdout
    for product in PRODUCTS:
        [*_, newest] = ingestion.kafka.newest("ingestion.progress", f"coinbase/spot/{product}/past")
        vouched = json.loads(newest)
        assert vouched["covered_from"] == wire_time(since)
        assert vouched["closed_through"] >= wire_time(begin)
    ingestion.assert_nothing_is_lost()
    # What other faults made the exchange send again is older still.
    fetched = And(GreaterThanOrEqual("time", wire_time(since)), LessThan("time", wire_time(begin)))
    early = ingestion.lake.rows("bronze.trades", fetched, columns=["product_id", "trade_id"])
    traded = {(t.product_id, str(t.trade_id)) for p in PRODUCTS for t in ingestion.tape.trades(p, since, begin)}
    assert set(early.iter_rows()) == traded


def repaired(log: Log) -> list[tuple[int, float]]:
    """Return of each gap how many trades were fetched and how long it took; nothing while one is open, or they are few.

    A product's gaps are mended one after the other. Of those that the recording has itself nothing can be fetched.
    """
    opened: dict[str, dict[str, Any]] = {}
    is_open: set[str] = set()
    done = []
    for line in lines_of(log):
        if line["message"] != "gap":
            continue
        product = line["product"]
        if line["state"] == "open":
            if product not in is_open:
                opened[product] = line
            is_open.add(product)
            continue
        is_open.discard(product)
        if line["state"] == "repaired" and product in opened:
            first, last = map(int, line["ids"].split("-"))
            done.append((last - first + 1, seconds_between(opened[product], line)))
    return [] if is_open or sum(count for count, _ in done) < ENOUGH_MISSED else done


def lines_of(log: Log) -> list[dict[str, Any]]:
    """Return the lines of a log that are JSON, of which the last may be cut short."""
    return [json.loads(line) for line in log.text.splitlines() if line.startswith("{") and line.endswith("}")]


def seconds_between(earlier: dict[str, Any], later: dict[str, Any]) -> float:
    """Return how long after one line another was written."""
    return (datetime.fromisoformat(later["time"]) - datetime.fromisoformat(earlier["time"])).total_seconds()
