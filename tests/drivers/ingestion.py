"""The ingestion alone, exchange to Bronze, on a stack of its own in which anything can be broken."""

from __future__ import annotations

import base64
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import httpx
import polars as pl
import psutil
from confluent_kafka import Message
from polars.testing import assert_frame_equal
from prometheus_client.parser import text_string_to_metric_families
from pyarrow.fs import FileType, S3FileSystem
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

from include.contracts import topics
from include.orchestration.evidence import hour_watch
from include.orchestration.hours import Hour
from include.settings import CHECKOUT
from tests.drivers.exchange import Exchange
from tests.drivers.kafka import Kafka
from tests.drivers.lake import Lake, frame_like
from tests.drivers.proxy import Proxy
from tests.drivers.running_stack import RunningStack, free_ports
from tests.drivers.waiting import eventually
from tests.truth import tables
from tests.truth.recording import read_recording
from tests.truth.tape import HOUR, Tape, hour_of

RAW = topics.COINBASE_TRADES.name
UNREADABLE = topics.COINBASE_DEAD_LETTERS.name
TABLES = ("bronze.trades", "bronze.dead_letters")
"""Every offset of the raw topic is in one of them."""
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
INGESTION = "bronze-writer,producer-coinbase"
DISKS = {"data/kafka": "768m", "data/s3": "768m", "checkpoints": "64m"}
"""Folders of the state that are disks of their own, and how large."""
MOUNTS = """
set -e
while [ "$1" != -- ]; do
  mkdir -p "$LAKE_STATE_DIR/$1"; mount -t tmpfs -o "size=$2" none "$LAKE_STATE_DIR/$1"; shift 2
done
shift; exec "$@"
"""
CHOICES = {
    "LAKE_PRODUCTS": ",".join(PRODUCTS),
    "LAKE_HISTORY_HOURS": "0",
    "LAKE_REPLICA_SPEED": "4",
    "LAKE_BRONZE_INTERVAL": "PT2S",
    "LAKE_KAFKA_PATIENCE": "PT4S",
}
REPAIRED = "repaired"
"""The property of a report with its gaps: how many trades were fetched for each, and how many seconds it took."""
RECOVERED_WITHIN = 240
HOUR_SECONDS = 30
"""How long an hour takes where it is hurried through."""
OLDEST_HOURS = 26
"""How far back the exchange has trades when the lake begins."""
START_SECONDS = 300


@dataclass(frozen=True)
class Ingestion:
    """A running ingestion.

    Args:
        s3: What all clients of the S3 store go through.
        nessie: What all clients of Nessie go through.
        tape: What the exchange trades, computed without its code.
    """

    stack: RunningStack
    s3: Proxy
    nessie: Proxy
    tape: Tape

    @cached_property
    def exchange(self) -> Exchange:
        """The exchange's stand-in."""
        return Exchange(self.stack)

    @cached_property
    def kafka(self) -> Kafka:
        """The broker."""
        return Kafka(self.stack.settings)

    @cached_property
    def lake(self) -> Lake:
        """The tables through another engine."""
        return Lake(self.stack.settings)

    @classmethod
    @contextmanager
    def on_a_stack_of_its_own(
        cls, recording: Path, choices: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[Ingestion]:
        """Start one; afterwards not a process of it is left.

        Args:
            recording: What the exchange plays.
            choices: Settings that are to be other than those of the fault suite.
        """
        state, ports = CHECKOUT / ".lake" / f"test-{secrets.token_hex(3)}", free_ports()
        spare = (port for port in free_ports().values() if port not in ports.values())
        servers = dict(zip(("s3", "nessie"), spare, strict=False))
        choices = (
            CHOICES | dict(choices) | {f"LAKE_{name.upper()}_SERVER__PORT": str(port) for name, port in servers.items()}
        )
        long_ago = hour_of(datetime.now(UTC)) - timedelta(hours=OLDEST_HOURS)
        shift = (long_ago - Tape(read_recording(recording), shift_hours=0).start) // HOUR
        choices |= {"LAKE_RECORDING": str(recording), "LAKE_REPLICA_SHIFT_HOURS": str(shift)}
        stack = RunningStack(state, choices, ports)
        s3, nessie = (Proxy(ports[name], servers[name]) for name in servers)
        with s3.running(), nessie.running():
            try:
                yield cls._started(stack, s3, nessie, recording)
            finally:
                down = stack.command("down", timeout=180)
                stack.keep_logs("ingestion")
                left = stack.processes()
                names = [f"{process.pid} {process.name()}" for process in left]
                for process in left:
                    process.kill()
                shutil.rmtree(state, ignore_errors=True)
        assert down.returncode == 0, down.stdout
        assert names == [], "`down` left processes"

    @classmethod
    def _started(cls, stack: RunningStack, s3: Proxy, nessie: Proxy, recording: Path) -> Ingestion:
        """Bring it up, its disks mounted where no one else sees them."""
        disks = [word for disk in DISKS.items() for word in disk]
        up = (sys.executable, "-m", "stack", "up", "--exchange", "replica", "--only", INGESTION)
        done = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNTS, "sh", *disks, "--", *up],
            cwd=CHECKOUT,
            env=stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        stack.supervisor.stop("thrift")  # it has made the tables
        shift = stack.settings.replica_shift_hours
        assert shift is not None, "the stack kept no shift"
        return cls(stack, s3, nessie, Tape(read_recording(recording), shift))

    def folder(self, name: str) -> Path:
        """Return a folder of the state as the services see it, whose disks these are."""
        pid = self.stack.supervisor.call("getPID")
        return Path(f"/proc/{pid}/root") / (self.stack.state / name).relative_to("/")

    def keep_checkpoints(self, place: str) -> None:
        """Start the writer anew with its checkpoints on `disk` or in the object store, `s3`."""
        up = self.stack.command("up", "--only", INGESTION, timeout=START_SECONDS, LAKE_CHECKPOINTS=place)
        assert up.returncode == 0, up.stdout
        self.stack.supervisor.stop("thrift")
        self.goes_on()

    def lose_of_checkpoint(self, place: str, part: str) -> None:
        """Remove a file or a folder of the checkpoint of trades, or all of it if nothing is named."""
        disk, settings = self.folder("checkpoints/trades") / part, self.stack.settings
        if place == "disk":
            shutil.rmtree(disk) if disk.is_dir() else disk.unlink()
            return
        assert settings.s3_access_key is not None
        assert settings.s3_secret_key is not None
        store = S3FileSystem(
            access_key=settings.s3_access_key.get_secret_value(),
            secret_key=settings.s3_secret_key.get_secret_value(),
            endpoint_override=settings.s3.address,
            scheme="http",
            region="us-east-1",
        )
        path = f"{settings.bucket}/checkpoints/trades/{part}".rstrip("/")
        found = store.get_file_info(path).type
        assert found is not FileType.NotFound, f"there is no {path}"
        store.delete_dir(path) if found is FileType.Directory else store.delete_file(path)

    def processes(self, service: str) -> list[psutil.Process]:
        """Return a service's main process and its children."""
        main = self.stack.process(service)
        return [main, *main.children(recursive=True)]

    def kill(self, service: str) -> None:
        """End all processes of a service with SIGKILL."""
        for process in self.processes(service):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """Let a service's processes stand still, with all connections open."""
        processes = self.processes(service)
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    @contextmanager
    def full(self, disk: str) -> Iterator[None]:
        """Leave no room on a disk."""
        ballast = self.folder(disk) / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):  # of this size there is no more room
                    while file.write(bytes(size)) == size:
                        pass
            try:
                assert shutil.disk_usage(ballast.parent).free == 0
                yield
            finally:
                ballast.unlink()

    @contextmanager
    def beside(self, name: str, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command of Python that nobody supervises, and end it; `name` is its log's."""
        log = self.stack.state / "logs" / f"{name}.log"
        with log.open("ab") as output, self.stack.start("run", sys.executable, *command, output=output) as process:
            try:
                yield process
            finally:
                process.terminate()

    @contextmanager
    def producer_by_a_wrong_clock(self, seconds: int) -> Iterator[None]:
        """Let a producer by whose clock it is so much later do the work of the one that is stopped meanwhile."""
        with self.beside(
            f"wrong-clock{seconds:+d}", "-m", "tests.drivers.wrong_clock", str(seconds), "streaming.coinbase"
        ):
            self.wait_until_closed()
            yield

    def rest_of_an_hour(self) -> tuple[datetime, Callable[[float], None]]:
        """Return an hour of which much is left, and what waits until a share of that is over."""
        now = self.exchange.now()
        hour = hour_of(now + timedelta(minutes=20))
        began, end = max(now, hour), hour + HOUR

        def past(share: float) -> None:
            moment = began + share * (end - began)
            eventually(lambda: self.exchange.now() >= moment, within=4 * HOUR_SECONDS, what=f"{moment}", every=0.2)

        past(0)
        return hour, past

    def see_it_whole(self, hour: datetime) -> None:
        """Wait as Airflow does until an hour is wholly in Bronze; see that this is not said before it is over."""
        settings = self.stack.settings
        with hour_watch(settings.kafka.address, settings.followed, Hour(hour), settings.silence_limit) as watch:

            def is_whole() -> bool:
                evidence, now = watch.look(), self.exchange.now()
                assert evidence is None or now >= hour + HOUR, f"{hour} was said to be whole at {now}: {evidence}"
                assert evidence is None or not evidence.silent
                return evidence is not None

            eventually(is_whole, within=RECOVERED_WITHIN, what=f"the whole hour {hour}")

    def assert_silver_is_true(self, hour: datetime) -> None:
        """Build an hour of Silver, and see that it has each of its trades once and no other."""
        job = "spark_apps/bronze_to_silver/job.py"
        built = self.stack.run("spark-submit", job, "--hour", Hour(hour).key, timeout=300)
        assert built.returncode == 0, built.stdout
        low, high = hour.isoformat(), (hour + HOUR).isoformat()
        of_hour = And(GreaterThanOrEqual("trade_time", low), LessThan("trade_time", high))
        silver = self.lake.rows("silver.trades", of_hour).sort("product_id", "trade_id")
        truth = frame_like(tables.silver_trades(self.tape, PRODUCTS, hour, hour + HOUR), silver)
        assert_frame_equal(silver.select(truth.columns), truth)

    def letters(self, topic: str, since: Mapping[int, int]) -> list[bytes]:
        """Return the bytes of each dead letter from a topic's records, from an offset of each partition on."""
        rows = self.lake.rows("bronze.dead_letters", columns=[*OFFSET, "_raw_bytes_base64"])
        return [
            base64.b64decode(row["_raw_bytes_base64"])
            for row in rows.filter(pl.col("_kafka_topic") == topic).iter_rows(named=True)
            if row["_kafka_offset"] >= since[row["_kafka_partition"]]
        ]

    def wait_for_letters(self, topic: str) -> None:
        """Wait until Bronze has every letter that a topic has by now."""
        ends = self.kafka.end_offsets(topic)

        def has_caught_up() -> bool:
            reached = self.kafka.committed("bronze.dead_letters", topic)
            return all(reached[part] >= end for part, end in ends.items())

        eventually(has_caught_up, within=RECOVERED_WITHIN, what=f"the letters of {topic}")

    def records_of(self, hour: datetime) -> Iterator[Message]:
        """Give the raw records of an hour's trades."""
        stamp = f"{hour:%Y-%m-%dT%H}:".encode()
        everything = dict.fromkeys(self.kafka.end_offsets(RAW), 0)
        return (record for record in self.kafka.records(RAW, everything) if stamp in (record.value() or b""))

    def pids(self) -> dict[str, int]:
        """Return the process of each service, and supervisord's."""
        services = {process.name: process.pid for process in self.stack.supervisor.processes()}
        return services | {"supervisord": self.stack.supervisor.call("getPID")}

    def log(self, service: str) -> Log:
        """Return a service's log from now on."""
        file = self.stack.state / "logs" / f"{service}.log"
        return Log(file, file.stat().st_size if file.exists() else 0)

    def snapshots(self, table: str) -> list[int]:
        """Return the ids of a table's snapshots."""
        return [snapshot.snapshot_id for snapshot in self.lake.snapshots(table)]

    def written(self, table: str) -> dict[int, int]:
        """Return how far a table is told to be in the raw topic, by partition."""
        return self.kafka.committed(table, RAW)

    def goes_on(self) -> None:
        """Wait until a batch more of trades is in Bronze."""
        before = self.written("bronze.trades")
        eventually(lambda: self.written("bronze.trades") != before, within=RECOVERED_WITHIN, what="a batch of trades")

    def wait_until_closed(self) -> datetime:
        """Wait until Kafka has all that was traded by now; return that moment of the exchange's."""
        moment = self.exchange.now()
        eventually(lambda: self._closed_through() > moment, within=RECOVERED_WITHIN, what=f"trades through {moment}")
        return moment

    def assert_nothing_is_lost(self) -> None:
        """Wait until Bronze has all that was traded by now; see that no offset is missing, and nothing there twice."""
        moment = self.wait_until_closed()
        ends = self.kafka.end_offsets(RAW)

        def has_caught_up() -> bool:
            return all(reached >= ends[part] for table in TABLES for part, reached in self.written(table).items())

        eventually(has_caught_up, within=RECOVERED_WITHIN, what=f"Bronze to reach {ends}")
        rows = self.lake.rows("bronze.trades", columns=["product_id", "trade_id", *OFFSET])
        letters = self.lake.rows("bronze.dead_letters", columns=OFFSET).filter(pl.col("_kafka_topic") == RAW)
        begin = self.stack.settings.first_hour
        assert begin is not None
        traded = {(t.product_id, str(t.trade_id)) for p in PRODUCTS for t in self.tape.trades(p, begin, moment)}
        lost = sorted(traded - set(rows.select("product_id", "trade_id").iter_rows()))
        assert not lost, f"{len(lost)} of {len(traded)} trades are lost, from {lost[0]} to {lost[-1]}"
        both = pl.concat([rows.select(OFFSET), letters])
        for (partition,), of_partition in both.group_by("_kafka_partition"):
            offsets = of_partition["_kafka_offset"].sort()
            doubled = offsets.filter(offsets.is_duplicated()).unique().to_list()
            assert not doubled, f"partition {partition} has offsets twice: {doubled[:5]} … {doubled[-1]}"
            assert (offsets.min(), offsets.max()) == (0, len(offsets) - 1), f"partition {partition} has a hole"

        batches = Counter(self._batches("bronze.trades"))
        assert batches.most_common(1)[0][1] == 1, f"a batch was committed twice: {batches.most_common(1)}"

    def _batches(self, table: str) -> Iterator[tuple[str, str]]:
        """Give query and number of the batch of each snapshot that a stream made."""
        for snapshot in self.lake.snapshots(table):
            summary = snapshot.summary
            if summary and (batch := summary.additional_properties.get("spark.sql.streaming.epochId")):
                yield summary.additional_properties["spark.sql.streaming.queryId"], batch

    def _closed_through(self) -> datetime:
        """Return the moment through which every product is closed; 1970 while the producer does not say."""
        never = datetime.fromtimestamp(0, UTC)
        try:
            page = httpx.get(f"{self.stack.settings.producer_metrics.url}/metrics", timeout=5).text
        except httpx.TransportError:
            return never
        metrics = {metric.name: metric.samples for metric in text_string_to_metric_families(page)}
        closed = [sample.value for sample in metrics.get("ingestion_closed_through_seconds", ())]
        return datetime.fromtimestamp(min(closed), UTC) if len(closed) == len(PRODUCTS) else never


OFFSET = ["_kafka_topic", "_kafka_partition", "_kafka_offset"]


@dataclass(frozen=True)
class Log:
    """What a service's log says from a place on."""

    file: Path
    since: int

    @property
    def text(self) -> str:
        """All of it."""
        with self.file.open("rb") as lines:
            lines.seek(self.since)
            return lines.read().decode(errors="replace")

    def says(self, words: str, within: float) -> None:
        """Wait until it says something."""
        eventually(lambda: words in self.text, within=within, what=f"{words!r} in {self.file.name}", every=0.5)


def pause(seconds: float) -> None:
    """Let a fault strike at a moment that its seed chose."""
    time.sleep(seconds)
