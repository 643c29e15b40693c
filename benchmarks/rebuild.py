"""Does it take longer to rebuild an hour where the lake holds more of them, and how long at all?

On a catalog, a store and branches of its own. The recorded trades are written there as hours, on one branch a few, on
another a hundred times as many; in turns an hour in the middle of each is rebuilt by the job that Airflow starts, and
that of the larger one by dbt-spark's incremental merge as well. On a third branch there is one hour of many trades in
Bronze, of which in turns our job, Polars and DuckDB make Silver.

Each turn has a branch of its own, and no figure counts before its rows were held against those of the others.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from benchmarks import history
from benchmarks.history import RECORDED_HOURS, Past
from benchmarks.lake import PEERS, TABLES_ALONE, Spent, branch, dbt_in_session, running, spent, submit, told
from benchmarks.report import spread, table
from include.contracts import bronze, silver
from include.orchestration.hours import Hour
from include.orchestration.lake import open_catalog, rows_of_hour, within
from include.settings import CHECKOUT
from tests.drivers.running_stack import RunningStack

JOB = CHECKOUT / "spark_apps" / "bronze_to_silver" / "job.py"
PLAIN_MERGE = PEERS / "plain_merge"
ENGINES = {"Polars": "hour_in_polars.py", "DuckDB": "hour_in_duckdb.py"}
HOUR = Hour(datetime(2026, 11, 11, 7, tzinfo=UTC))
"""The hour that is rebuilt; like the recording's last, it lies two hours after the start of a cycle."""
TIMES = 100
MOST_MORE_READ, MOST_LONGER, LEAST_LESS, MOST_OF_ENGINES = 0.05, 1.25, 10, 3
"""What is promised: of files and bytes; of seconds in the larger lake; than the merge; than another engine."""
SPARKS_DEFAULTS = (
    "--conf", "spark.sql.adaptive.enabled=true", "--conf", "spark.sql.shuffle.partitions=200",
    "--driver-memory", "4g",
)  # fmt: skip
"""Of the merge, where the stack has other values for its small hours; and more memory than the hour's job has."""
FOR_MINUTES = {"SPARK_SUBMIT_OPTS": ""}
"""The merge has both of Java's compilers: it goes on for minutes."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Args:
        cycles: How often the smaller lake holds the recorded hours.
        turns: How often the hour is rebuilt in each lake.
        merges: How often it is merged in the larger one.
        copies: How often each recorded trade happens in the hour of many.
        parts: How many files of Bronze hold that.
        builds: How often each engine builds it.
    """

    cycles: int
    turns: int
    merges: int
    copies: int
    parts: int
    builds: int


WHOLE = Size(cycles=3, turns=9, merges=3, copies=54, parts=12, builds=5)
SMOKE = Size(cycles=1, turns=1, merges=1, copies=3, parts=2, builds=1)

OURS, MERGE = "our job", "dbt-spark's incremental merge"


@dataclass(frozen=True)
class Lake:
    """A branch whose hour is rebuilt again and again, each time on a branch of it.

    Args:
        rows: The rows that its hour has to have afterwards.
    """

    stack: RunningStack
    ref: str
    past: Past
    rows: pl.DataFrame
    turns: dict[str, list[Spent]] = field(default_factory=dict)

    def rebuild(self, who: str) -> None:
        """Take a turn.

        Raises:
            AssertionError: If the hour has other rows then.
        """
        with branch(self.stack, "rebuild", of=self.ref) as attempt:
            took = built(self.stack, attempt) if who == OURS else merged(self.stack, attempt)
            assert_frame_equal(silver_of(self.stack, attempt), self.rows)
        self.turns.setdefault(who, []).append(took)
        print(f"{self.past.hours} hours, {who}: {took}", flush=True)

    def median(self, who: str) -> Spent:
        """Return the medians of its turns."""
        turns = self.turns[who]
        return Spent(
            statistics.median(turn.seconds for turn in turns),
            round(statistics.median(turn.files for turn in turns)),
            round(statistics.median(turn.bytes for turn in turns)),
        )


def measure(size: Size = WHOLE) -> str:
    """Write the lakes, let all take turns, and return their tables.

    Raises:
        AssertionError: If one makes other rows than the others.
    """
    few, many = RECORDED_HOURS * size.cycles, RECORDED_HOURS * size.cycles * TIMES
    with running(*TABLES_ALONE, choices=history.CHOICES) as stack, ExitStack() as branches:
        lakes = [_lake(stack, branches.enter_context(branch(stack, f"hours-{hours}")), hours) for hours in (few, many)]
        for turn in range(size.turns):
            for lake in lakes[:: -1 if turn % 2 else 1]:
                lake.rebuild(OURS)
            if turn < size.merges:
                lakes[1].rebuild(MERGE)
        busy = branches.enter_context(branch(stack, "busy"))
        past = Past(_start(2), RECORDED_HOURS, size.copies, size.parts, tables=())
        history.write(stack, busy, past)
        seconds, trades = build_in_turns(stack, busy, size.builds)
    return f"{_of_lakes(*lakes)}\n\n{_of_engines(seconds, trades)}"


def _lake(stack: RunningStack, ref: str, hours: int) -> Lake:
    """Write so many hours to a branch, the hour that is rebuilt near their middle."""
    before = (hours // RECORDED_HOURS // 2) * RECORDED_HOURS + 2
    past = Past(_start(before), hours)
    took = history.write(stack, ref, past)
    print(f"{hours} hours written in {took.seconds:,.0f} s", flush=True)
    return Lake(stack, ref, past, silver_of(stack, ref))


def _start(hours_before: int) -> int:
    return int((HOUR.start - timedelta(hours=hours_before)).timestamp())


def built(stack: RunningStack, ref: str) -> Spent:
    """Build the hour on a branch as Airflow has it built."""
    return submit(stack, ref, str(JOB), "--hour", HOUR.key)


def merged(stack: RunningStack, ref: str) -> Spent:
    """Have dbt merge the hour into the branch's Silver, in a session of its own."""
    with told(stack, ref) as (words, events):
        hour = {"HOUR": HOUR.key, "HOUR_AFTER": Hour(HOUR.end).key}
        dbt_in_session(stack, PLAIN_MERGE, "lake.silver", spark=(*words, *SPARKS_DEFAULTS), **FOR_MINUTES, **hour)
        return spent(events)


def silver_of(stack: RunningStack, ref: str) -> pl.DataFrame:
    """Read the hour of `silver.trades`, in the order of its grain."""
    with open_catalog(stack.settings, ref) as catalog:
        return _in_order(pl.DataFrame(pl.from_arrow(rows_of_hour(catalog, silver.TRADES, HOUR))))


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(silver.TRADES.column_names).sort(silver.TRADES.grain)


def build_in_turns(stack: RunningStack, ref: str, builds: int) -> tuple[Mapping[str, list[float]], int]:
    """Build the hour of a branch that has no Silver; return the seconds of each engine, and how many trades it has.

    The other engines get the names of the files that Iceberg says hold the hour, and read and write the store's disk
    itself: they have neither a catalog nor a store to talk to.

    Raises:
        AssertionError: If they make different rows.
    """
    files, out = _files(stack, ref), stack.state / "hour.parquet"
    seconds: dict[str, list[float]] = {OURS: [], **{engine: [] for engine in ENGINES}}
    rows: pl.DataFrame | None = None
    for turn in range(builds):
        for who in list(seconds)[:: -1 if turn % 2 else 1]:
            if who == OURS:
                with branch(stack, "build", of=ref) as attempt:
                    seconds[who].append(built(stack, attempt).seconds)
                    made = silver_of(stack, attempt)
            else:
                words = [str(PEERS / ENGINES[who]), HOUR.key, Hour(HOUR.end).key, str(out), *files]
                done = subprocess.run([sys.executable, *words], check=True, stdout=subprocess.PIPE, text=True)
                seconds[who].append(json.loads(done.stdout)["seconds"])
                made = _in_order(pl.read_parquet(out))
            print(f"{made.height:,} trades, {who}: {seconds[who][-1]:.1f} s", flush=True)
            rows = made if rows is None else rows
            assert_frame_equal(made, rows)
    assert rows is not None, "nothing was built"
    return seconds, rows.height


def _files(stack: RunningStack, ref: str) -> list[str]:
    """Return where on the store's disk the files of Bronze lie that hold the hour."""
    with open_catalog(stack.settings, ref) as catalog:
        tasks = catalog.load_table(bronze.TRADES.full_name).scan(within(bronze.TRADES, HOUR)).plan_files()
        return [str(_on_disk(stack, task.file.file_path)) for task in tasks]


def _on_disk(stack: RunningStack, location: str) -> Path:
    return stack.state / "data" / "s3" / location.removeprefix("s3://")


def _of_lakes(small: Lake, large: Lake) -> str:
    """Write what the lakes took."""
    lines = [(lake, who) for lake in (small, large) for who in lake.turns]
    costs = table(
        ("hours in the lake", "trades of the hour", "who", "turns", "files read", "MB read", "Spark's seconds"),
        [
            (
                f"{lake.past.hours:,}",
                f"{lake.rows.height:,}",
                who,
                len(lake.turns[who]),
                f"{took.files:,}",
                f"{took.bytes / 1e6:,.1f}",
                spread([turn.seconds for turn in lake.turns[who]], ".1f"),
            )
            for lake, who in lines
            for took in (lake.median(who),)
        ],
    )
    few, many, plain = small.median(OURS), large.median(OURS), large.median(MERGE)
    ratios = table(
        (f"with {TIMES} times the hours", "measured", "promised"),
        [
            ("files read, to those before", f"{many.files / few.files:.2f}", f"within {MOST_MORE_READ:.0%}"),
            ("bytes read, to those before", f"{many.bytes / few.bytes:.2f}", f"within {MOST_MORE_READ:.0%}"),
            ("Spark's seconds, to those before", f"{many.seconds / few.seconds:.2f}", f"at most {MOST_LONGER}"),
            (f"{MERGE}, to ours", f"{plain.seconds / many.seconds:.1f}", f"at least {LEAST_LESS}"),
        ],
    )
    return f"{costs}\n\n{ratios}"


def _of_engines(seconds: Mapping[str, list[float]], trades: int) -> str:
    """Write what the engines took."""
    ours = statistics.median(seconds[OURS])
    return table(
        (f"an hour of {trades:,} trades", "builds", "seconds", "ours to it", "promised"),
        [
            (
                who,
                len(taken),
                spread(taken, ".1f"),
                f"{ours / statistics.median(taken):.2f}",
                "" if who == OURS else f"at most {MOST_OF_ENGINES}",
            )
            for who, taken in seconds.items()
        ],
    )
