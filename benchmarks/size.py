"""How many bytes a trade takes in Silver and in Bronze, by what Iceberg's metadata says of the files.

On a catalog and a store of its own, with the three recorded hours as the hours leave them: in Bronze a file an hour, in
Silver one an hour and product. The rows of Silver are also in a table that has nothing but defaults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import zstandard

from benchmarks import history
from benchmarks.history import PLAIN, RECORDED_HOURS, Past
from benchmarks.lake import TABLES_ALONE, branch, running
from benchmarks.report import table
from include.contracts import bronze, silver
from include.orchestration.lake import open_catalog, rows
from include.settings import CHECKOUT
from tests.drivers.running_stack import RunningStack

START = int(datetime(2026, 11, 11, 5, tzinfo=UTC).timestamp())
MOST_OF_PLAIN, LEAST_SMALLER = 0.7, 5.8
SESSION = CHECKOUT / "tests" / "data" / "coinbase" / "session_2021-04-17.ndjson"
"""What the exchange itself sent within half a minute."""
MATCH = '"type":"match"'
HARDEST = 19
"""The level from which zstd becomes so slow that nobody uses more."""
ORDERS = ("maker_order_id", "taker_order_id")
RANDOM_BYTES = 122 / 8
"""What is random in an order's id, a UUID of version 4: no compression makes it smaller where it is new."""
FRAMES = {"as the stand-in writes them": False, "one taker order at one moment": True}
"""Kinds of frames, and whether trades of one moment share their taker's order in them."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one table.

    Args:
        columns: The bytes of each column; what Iceberg does not count by column is under an empty name.
    """

    rows: int
    bytes: int
    columns: Mapping[str, int]

    @property
    def per_row(self) -> float:
        """Bytes a row."""
        return self.bytes / self.rows


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of trades.

    Args:
        count: How many.
        bytes: Of a frame.
        orders: Different ids of orders, to each frame.
        packed: Bytes of a frame in one text of all of them that zstd has made as small as it can.
    """

    count: int
    bytes: float
    orders: float
    packed: float

    @property
    def random(self) -> float:
        """Bytes of a frame that are random."""
        return self.orders * RANDOM_BYTES


def measure() -> str:
    """Write the hours and return how large they are.

    Raises:
        AssertionError: If a table does not hold the trades that the others hold.
    """
    with running(*TABLES_ALONE, choices=history.CHOICES) as stack:
        written = {kind: _written(stack, shares_orders=shares) for kind, shares in FRAMES.items()}
    _, of_bronze, of_silver, plain = next(iter(written.values()))
    assert of_silver.rows == plain.rows, f"{of_silver.rows} trades in Silver, {plain.rows} in the plain table"
    found = {kind: (frames, of_bronze) for kind, (frames, of_bronze, *_) in written.items()}
    return f"{_of_silver(of_silver, plain)}\n\n{_of_bronze(found)}\n\n{_of_columns(of_bronze, of_silver)}"


def _written(stack: RunningStack, *, shares_orders: bool) -> tuple[Frames, Files, Files, Files]:
    """Write the hours to a branch; return the frames and the files of Bronze, of Silver and of the plain table."""
    tables = (silver.TRADES.full_name, PLAIN)
    with branch(stack, "size") as ref:
        history.write(stack, ref, Past(START, RECORDED_HOURS, shares_orders=shares_orders, tables=tables))
        files = [files_of(stack, ref, name) for name in (bronze.TRADES.full_name, *tables)]
        return frames_of(stack, ref), *files


def files_of(stack: RunningStack, ref: str, name: str) -> Files:
    """Add up what a table's metadata says of its files."""
    with open_catalog(stack.settings, ref) as catalog:
        opened = catalog.load_table(name)
        names = {field.field_id: field.name for field in opened.schema().fields}
        columns: Counter[str] = Counter()
        count = size = 0
        for task in opened.scan().plan_files():
            file = task.file
            count, size = count + file.record_count, size + file.file_size_in_bytes
            counted = {names[number]: taken for number, taken in (file.column_sizes or {}).items()}
            columns.update(counted)
            columns[""] += file.file_size_in_bytes - sum(counted.values())
    return Files(count, size, columns)


def frames_of(stack: RunningStack, ref: str) -> Frames:
    """Measure the frames in a branch's Bronze."""
    with open_catalog(stack.settings, ref) as catalog:
        return measured(rows(catalog, bronze.TRADES, "true", ("_raw_payload",)).column(0).to_pylist())


def measured(frames: Sequence[str]) -> Frames:
    """Measure frames of matches."""
    ids = {msgspec.json.decode(frame, type=dict[str, Any])[order] for frame in frames for order in ORDERS}
    text = "\n".join(frames).encode()
    packed = len(zstandard.ZstdCompressor(level=HARDEST).compress(text))
    count = len(frames)
    return Frames(count, len(text) / count - 1, len(ids) / count, packed / count)


def _of_silver(ours: Files, plain: Files) -> str:
    return table(
        (f"Silver, {ours.rows:,} trades", "bytes a trade", "to the plain table", "promised"),
        [
            ("silver.trades", f"{ours.per_row:.2f}", f"{ours.bytes / plain.bytes:.2f}", f"at most {MOST_OF_PLAIN}"),
            ("a table of defaults, with zstd", f"{plain.per_row:.2f}", "1.00", ""),
        ],
    )


def _of_bronze(found: Mapping[str, tuple[Frames, Files]]) -> str:
    heading = (
        "frames", "how many", "bytes", "ids of orders", "of these random", "alone under zstd's hardest",
        "a trade in Bronze", "times smaller", "promised",
    )  # fmt: skip
    promised = f"at least {LEAST_SMALLER}"
    ours = [
        (*_cells(kind, frames), f"{files.per_row:.1f}", f"{frames.bytes / files.per_row:.2f}", promised)
        for kind, (frames, files) in found.items()
    ]
    with SESSION.open() as lines:
        recorded = measured([line.strip() for line in lines if MATCH in line])
    return table(heading, [*ours, (*_cells("the exchange's own", recorded), "", "", "")])


def _cells(kind: str, frames: Frames) -> tuple[str, ...]:
    figures = (f"{frames.bytes:.0f}", f"{frames.orders:.2f}", f"{frames.random:.1f}", f"{frames.packed:.1f}")
    return (kind, f"{frames.count:,}", *figures)


def _of_columns(of_bronze: Files, of_silver: Files) -> str:
    """Write which column takes how much."""
    # Iceberg keeps no figures of the frames, so what no column has is taken for theirs: the ends of files are small.
    taken = {"bronze": {**of_bronze.columns, "_raw_payload": of_bronze.columns[""]}, "silver": of_silver.columns}
    counts = {"bronze": of_bronze.rows, "silver": of_silver.rows}
    names = dict.fromkeys([*bronze.TRADES.column_names, *silver.TRADES.column_names])
    return table(
        ("bytes a trade", "Bronze", "Silver"),
        [
            (name, *(f"{of[name] / counts[layer]:.2f}" if name in of else "" for layer, of in taken.items()))
            for name in names
        ],
    )
