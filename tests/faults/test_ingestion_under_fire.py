"""Whatever fails on the way from the exchange to Bronze, no trade is lost, no offset is there twice, and nobody helps.

Each fault strikes where and when its seed has it. `--seed` gives one again, `--seeds` runs several.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

import polars as pl
import pytest
from pyiceberg.expressions import LessThan

from tests.drivers.ingestion import PRODUCTS, RAW, RECOVERED_WITHIN, Ingestion, Log, pause
from tests.drivers.proxy import TROUBLES, Request
from tests.drivers.waiting import eventually
from tests.truth.recorder import wire_time
from tests.truth.tape import HOUR

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

WRITER, PRODUCER = "bronze-writer", "producer-coinbase"
HEARTBEATS_SECONDS = 2.5
ENOUGH_MISSED = 5000
MANY_CALLS = 20
HURRY = 300
"""At this speed some seven thousand trades or more are missed until a lost feed is noticed and followed again."""


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


def test_writer_killed_after_the_data_files_and_before_the_commit(ingestion: Ingestion, chance: Random):
    kill_writer_at_a_commit(ingestion, "there", passes=chance.randrange(3))

    ingestion.assert_nothing_is_lost()


def test_writer_killed_after_the_commit_and_before_the_checkpoint(ingestion: Ingestion, chance: Random):
    kill_writer_at_a_commit(ingestion, "back", passes=chance.randrange(3))

    ingestion.assert_nothing_is_lost()


def test_manifests_merged_and_snapshots_expired_between_a_commit_and_its_checkpoint(
    ingestion: Ingestion, chance: Random
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


def test_checkpoint_lost_with_a_batch_that_is_not_in_it(ingestion: Ingestion, chance: Random):
    kill_writer_at_a_commit(ingestion, "back", passes=chance.randrange(3))
    ingestion.stack.supervisor.stop(WRITER)
    lost = ingestion.folder("checkpoints/trades") / chance.choice(("", "commits", "metadata", "offsets"))
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()
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
        log.says("Kafka did not acknowledge in time; sending again", within=60)

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


def test_thousands_of_missed_trades_are_fetched_from_a_slow_history(ingestion: Ingestion, seed: int):
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
    fetched = sum(count for count, _ in gaps)
    slowest = sorted(seconds for _, seconds in gaps)[int(0.99 * len(gaps))]
    print(f"{fetched} trades in {len(gaps)} gaps, p99 from found to acknowledged: {slowest:.2f} s")

    assert fetched >= ENOUGH_MISSED
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
    early = ingestion.lake.rows("bronze.trades", LessThan("time", wire_time(begin)), columns=["product_id", "trade_id"])
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
