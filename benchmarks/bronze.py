"""From Kafka to visible in Bronze: our writer beside the job that one would write first, in turns.

On a stack of its own runs the Bronze writer as the stack runs it, with the queries of all tables, and beside it the
peers, each with a topic and a table of its own: Spark, Iceberg and the catalog's address are the same, all else is as
it comes. Each turn sends one of them Coinbase matches as our producer writes them, first 2,000 a second and then many
at once, until its table has them. CPU seconds are those of its whole process tree; the others idle meanwhile.

A turn counts only if the table then holds each of its trades exactly once. A trade is visible from the moment of the
commit in the catalog that has its file; its latency is that moment minus the time of the exchange in it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import polars as pl
import psutil
import pyarrow.parquet as pq
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from benchmarks import report as page
from benchmarks.lake import running
from benchmarks.producer import MATCHES, PRODUCTS
from include.contracts import bronze
from include.contracts.topics import COINBASE_TRADES, Header
from include.orchestration.nessie import Nessie
from include.settings import CHECKOUT, Settings
from streaming.progress import iso
from tests.drivers.lake import Lake
from tests.drivers.running_stack import RunningStack

PEER = CHECKOUT / "benchmarks" / "peers" / "from_json_to_iceberg.py"
PEERS = {
    "plain job, the same columns": ("all", "received_at"),
    "plain job, fields alone": ("fields", ""),
    "plain job, fields alone, by day": ("fields", "time"),
}
"""What a peer keeps, and the column by whose days its table is partitioned; Iceberg has such rows shuffled."""
SHARED = ("spark.sql.catalog.", "spark.sql.extensions", "spark.driver.extraClassPath", "spark.driver.host")
"""What the peer has of the stack's configuration of Spark; the rest is Spark's default."""

PER_SECOND = 2000
PATIENCE = timedelta(minutes=3)
HOUR = "%Y-%m-%dT%H"
BRANCH = "benchmark"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Args:
        rounds: Turns of each.
        warm_ups: Turns of each beforehand: these are services that run for days, and Java compiles for minutes.
        seconds: How long a turn's steady load lasts.
        burst: How many records come at once.
    """

    rounds: int
    warm_ups: int
    seconds: int
    burst: int


WHOLE = Size(rounds=5, warm_ups=6, seconds=20, burst=100_000)
SMOKE = Size(rounds=1, warm_ups=1, seconds=20, burst=50_000)


@dataclass
class Participant:
    """One who takes turns.

    Args:
        process: The root of its process tree.
        seen: The snapshots of the turns before.
    """

    name: str
    topic: str
    table: str
    process: psutil.Process
    seen: set[int] = field(default_factory=set)
    sent: int = 0

    def cpu_seconds(self) -> float:
        """Return what its processes have used so far, those included that have ended."""
        return sum(sum(process.cpu_times()[:4]) for process in (self.process, *self.process.children(recursive=True)))


@dataclass(frozen=True, slots=True)
class Turn:
    """What one load took.

    Args:
        per_cpu: Records per CPU second.
        batches: Commits that it took.
        latencies: From each record's exchange time to its commit, in seconds.
    """

    per_cpu: float
    batches: int
    latencies: pl.Series


def measure(size: Size = WHOLE) -> str:
    """Start a stack, let both take turns on it, and return their tables."""
    with running("up", "--only", "bronze-writer", choices={"LAKE_EXCHANGE": "replica"}) as stack:
        return measure_on(stack, size)


def measure_on(stack: RunningStack, size: Size) -> str:
    """Let both take turns on a stack that has a Bronze writer and no producer."""
    settings = stack.settings
    with ExitStack() as running:
        process = stack.process("bronze-writer")
        ours = Participant("ours", COINBASE_TRADES.name, bronze.TRADES.full_name, process)
        all_ = [ours, *(running.enter_context(peer(stack, name)) for name in PEERS)]
        for who in all_:
            warm_up(settings, who, size)
        steady: dict[str, list[Turn]] = {who.name: [] for who in all_}
        bursts: dict[str, list[Turn]] = {who.name: [] for who in all_}
        for round_ in range(size.rounds):
            for who in all_[:: -1 if round_ % 2 else 1]:
                steady[who.name].append(take_turn(settings, who, PER_SECOND * size.seconds, PER_SECOND))
                bursts[who.name].append(take_turn(settings, who, size.burst))
                told(round_, who, steady[who.name][-1], bursts[who.name][-1])
    with hours_built_beside(stack) as built:
        beside = take_turn(settings, ours, PER_SECOND * size.seconds * size.rounds, PER_SECOND)
    return report(size, steady, bursts, beside, len(built))


def warm_up(settings: Settings, who: Participant, size: Size) -> None:
    """Let a participant become what it is after a while."""
    for _ in range(2):
        take_turn(settings, who, size.burst)
    for number in range(size.warm_ups):
        turn = take_turn(settings, who, PER_SECOND * size.seconds, PER_SECOND)
        print(f"warm-up {number + 1}, {who.name}: {turn.per_cpu:,.0f} records per CPU second", flush=True)


def told(round_: int, who: Participant, steady: Turn, burst: Turn) -> None:
    """Say on the terminal how a turn went."""
    p99 = steady.latencies.quantile(0.99)
    print(
        f"round {round_ + 1}, {who.name}: {steady.per_cpu:,.0f} and {burst.per_cpu:,.0f} records per CPU second, "
        f"{steady.batches} batches, p99 {p99:.1f} s",
        flush=True,
    )


def report(size: Size, steady: dict[str, list[Turn]], bursts: dict[str, list[Turn]], beside: Turn, hours: int) -> str:
    """Write the tables."""
    rows = [
        (load, who, page.spread(per_cpu), f"{statistics.median(ours) / statistics.median(per_cpu):.2f}")
        for load, turns in ((f"{PER_SECOND:,} a second", steady), (f"{size.burst:,} at once", bursts))
        for ours in ([turn.per_cpu for turn in turns["ours"]],)
        for who in turns
        for per_cpu in ([turn.per_cpu for turn in turns[who]],)
    ]
    costs = page.table(("load", "who", "records per CPU second", "ours to it"), rows)
    delays = [(who, pl.concat([turn.latencies for turn in turns])) for who, turns in steady.items()]
    delays.append((f"ours, while Silver is built beside it ({hours} times)", beside.latencies))
    seconds = page.table(
        ("from the exchange to visible", "records", "median", "p99", "most"),
        [
            (who, f"{len(all_):,}", *(f"{all_.quantile(part):.1f} s" for part in (0.5, 0.99, 1.0)))
            for who, all_ in delays
        ],
    )
    return f"{size.rounds} rounds in turns; median (least to most).\n\n{costs}\n\n{seconds}"


@contextmanager
def peer(stack: RunningStack, name: str) -> Iterator[Participant]:
    """Run a plain job, with a topic and a table of its own."""
    settings, number = stack.settings, list(PEERS).index(name)
    topic = table = f"benchmark.trades_{number}"
    folder = stack.state / "benchmark" / str(number)
    folder.mkdir(parents=True)
    admin = AdminClient({"bootstrap.servers": settings.kafka.address})
    admin.create_topics([NewTopic(topic, COINBASE_TRADES.partitions, 1)])[topic].result()
    lines = (stack.state / "conf" / "spark" / "spark-defaults.conf").read_text().splitlines()
    kept = [line for line in lines if line.startswith(SHARED) and "cache-enabled" not in line]
    (folder / "plain.conf").write_text("\n".join(kept))
    checkpoint = (folder / "checkpoint").as_uri()
    words = [settings.kafka.address, topic, f"{settings.catalog}.{table}", checkpoint, *PEERS[name]]
    command = [sys.executable, "-m", "stack", "run", "spark-submit", "--properties-file", str(folder / "plain.conf")]
    with (
        (folder / "plain.log").open("w") as log,
        subprocess.Popen(
            [*command, str(PEER), *words], cwd=CHECKOUT, env=stack.environment, stdout=log, stderr=log
        ) as job,
    ):
        process = psutil.Process(job.pid)
        try:
            yield Participant(name, topic, table, process)
        finally:
            for each in (*process.children(recursive=True), process):
                each.terminate()


def take_turn(settings: Settings, who: Participant, count: int, per_second: int | None = None) -> Turn:
    """Send so many trades, wait until all are visible, and see that each is there once.

    Raises:
        RuntimeError: If one is missing or there twice.
    """
    before, first = who.cpu_seconds(), who.sent
    send(settings.kafka.address, who.topic, first, count, per_second)
    who.sent += count
    wait_for_rows(settings, who)
    cpu = who.cpu_seconds() - before
    rows, snapshots = new_rows(settings, who)
    if not rows["trade_id"].sort().equals(pl.Series("trade_id", range(first, who.sent))):
        raise RuntimeError(f"{who.name}: {rows['trade_id'].n_unique()} trades in {len(rows)} rows, {count} were sent")
    latencies = (rows["visible_at"] - rows["time"]).dt.total_microseconds() / 1e6
    return Turn(count / cpu, snapshots, latencies)


def send(kafka: str, topic: str, first: int, count: int, per_second: int | None) -> None:
    """Send trades that happen now; as fast as possible, or so many in a second."""
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 10,
        }
    )
    began = time.monotonic()
    for sent, number in enumerate(range(first, first + count)):
        if per_second and (early := began + sent / per_second - time.monotonic()) > 0:
            time.sleep(early)
        product, now = PRODUCTS[number % len(PRODUCTS)], datetime.now(UTC)
        trade = {b"id": number, b"product": product.encode(), b"sequence": number, b"at": iso(now).encode()}
        headers = [(Header.RECEIVED_AT.value, b"%d" % int(now.timestamp() * 1e6))]
        while True:
            try:
                producer.produce(topic, MATCHES["exchange"] % trade, product, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} trades were not acknowledged")


def wait_for_rows(settings: Settings, who: Participant) -> None:
    """Wait until the table's snapshot counts as many rows as were sent.

    Raises:
        TimeoutError: If it does not come to that.
        RuntimeError: If its process has ended.
    """
    deadline = time.monotonic() + PATIENCE.total_seconds()
    rows = 0
    while time.monotonic() < deadline:
        try:
            snapshot = opened(settings, who).current_snapshot()
        except NoSuchTableError:
            snapshot = None
        rows = int((snapshot and snapshot.summary and snapshot.summary["total-records"]) or 0)
        if rows >= who.sent:
            return
        if who.process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"{who.name} has ended")
        time.sleep(0.5)
    raise TimeoutError(f"{who.name}: {rows} of {who.sent} trades are visible")


def opened(settings: Settings, who: Participant) -> Table:
    """Open a participant's table."""
    with Lake(settings).catalog() as catalog:
        return catalog.load_table(who.table)


def new_rows(settings: Settings, who: Participant) -> tuple[pl.DataFrame, int]:
    """Read the rows since the last turn, each with the moment of its commit; and say how many commits there were."""
    there = opened(settings, who)
    commits = committed(settings)
    entries = pl.from_arrow(there.inspect.entries().select(["snapshot_id", "data_file"]))
    parts = []
    new = entries.filter(~pl.col("snapshot_id").is_in(list(who.seen)))
    for snapshot, file in new.iter_rows():
        with there.io.new_input(file["file_path"]).open() as content:
            rows = pl.from_arrow(pq.read_table(content, columns=["trade_id", "time"]))
        time_ = pl.col("time").str.to_datetime(time_zone="UTC") if rows.schema["time"] == pl.String else pl.col("time")
        parts.append(
            rows.select(pl.col("trade_id").cast(pl.Int64), time_.alias("time"), visible_at=pl.lit(commits[snapshot]))
        )
    who.seen.update(new["snapshot_id"])
    return pl.concat(parts), new["snapshot_id"].n_unique()


def committed(settings: Settings) -> dict[int, datetime]:
    """Return when the catalog took each of the newest snapshots: only then could a reader see it."""
    answer = httpx.get(
        f"{settings.nessie_api}/trees/{settings.branch}/history",
        params={"fetch": "ALL", "max-records": 1000},
        timeout=30,
    )
    answer.raise_for_status()
    return {
        change["content"]["snapshotId"]: datetime.fromisoformat(entry["commitMeta"]["commitTime"])
        for entry in answer.json()["logEntries"]
        for change in entry["operations"]
        if change.get("content", {}).get("type") == "ICEBERG_TABLE"
    }


@contextmanager
def hours_built_beside(stack: RunningStack) -> Iterator[list[float]]:
    """Build the Silver of the present hour again and again, as modest as Airflow's task; yields the seconds of each."""
    settings = stack.settings
    with Nessie(settings.nessie_api) as nessie:
        nessie.create(BRANCH, at=nessie.get(settings.branch).hash, source=settings.branch)
    stop, took = threading.Event(), list[float]()
    job = CHECKOUT / "spark_apps" / "bronze_to_silver" / "job.py"
    conf = f"spark.sql.catalog.{settings.catalog}.ref={BRANCH}"

    def build() -> None:
        while not stop.is_set():
            began, hour = time.monotonic(), f"{datetime.now(UTC):{HOUR}}"
            words = ("nice", "-n", "5", "spark-submit", "--conf", conf, str(job), "--hour", hour)
            done = stack.run(*words, timeout=600)
            if done.returncode != 0:
                raise RuntimeError(f"the hour cannot be built: {done.stdout[-2000:]}")
            took.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as pool:
        builder = pool.submit(build)
        try:
            yield took
        finally:
            stop.set()
    builder.result()
