"""What a table is: columns, grain, partitioning, promises. Standard library only; renderers speak for the tools."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Layer(StrEnum):
    """How far a row has come, or where it is put away."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    OPS = "ops"
    ARCHIVE = "archive"


class Kind(StrEnum):
    """The families of values."""

    STRING = "string"
    INT = "int"
    LONG = "bigint"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    DECIMAL = "decimal"


@dataclass(frozen=True, slots=True)
class Type:
    """A column's type. Timestamps are instants in UTC, to the microsecond."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        """Spell the type as SQL does."""
        if self.kind is Kind.DECIMAL:
            return f"decimal({self.precision},{self.scale})"
        return self.kind.value


STRING, INT, LONG, BOOLEAN, TIMESTAMP, DATE = (
    Type(kind) for kind in (Kind.STRING, Kind.INT, Kind.LONG, Kind.BOOLEAN, Kind.TIMESTAMP, Kind.DATE)
)


def decimal(precision: int, scale: int) -> Type:
    """Give an exact number of `precision` digits, `scale` of them behind the point."""
    return Type(Kind.DECIMAL, precision, scale)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the same name means the same thing in every table."""

    name: str
    type: Type
    description: str
    unit: str | None = None
    required: bool = True

    def optional(self, description: str | None = None) -> Column:
        """Return the column as one that may be null, with the reason in its description."""
        return replace(self, required=False, description=description or self.description)

    def described(self, description: str) -> Column:
        """Return the column with words that fit one table better."""
        return replace(self, description=description)


class Action(StrEnum):
    """What happens to a row, or to the hour, that breaks a rule: `ignore` only counts it."""

    IGNORE = "ignore"
    WARN = "warn"
    QUARANTINE = "quarantine"
    BLOCK = "block"


MOST_QUARANTINED = Fraction(1, 20)
"""Of an hour's rows, the share that may go into quarantine for one rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A promise about every row: `column` satisfies `condition`, said as a Spark SQL predicate over the columns.

    Args:
        id: What verdicts, quarantined rows and alerts call it.
        condition: A predicate that holds for good rows; a null result counts as broken.
        action: What happens when it does not hold.
        up_to: Where rows are put into quarantine: the share of the hour's rows above which the hour is blocked.
    """

    id: str
    condition: str
    description: str
    action: Action = Action.BLOCK
    up_to: Fraction = MOST_QUARANTINED


class Compaction(StrEnum):
    """How many small files become few."""

    BINPACK = "binpack"
    """Their rows stay as they lie."""
    SORT = "sort"
    """Their rows are laid as the table is `sorted_by`, so that a reader of one product skips the others."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How a table's data files are kept; only hours that are over are touched.

    Args:
        target_bytes: The size of a file at which compaction aims; well smaller ones are small.
        min_files: Fewer small files than that in a partition are left as they are.
    """

    compaction: Compaction = Compaction.BINPACK
    target_bytes: int = 128 * 1024**2
    min_files: int = 2


@dataclass(frozen=True, slots=True)
class Table:
    """One table, said once; every tool's form of it is rendered from here.

    Args:
        grain: The columns that together name one row.
        partitioned_by: Iceberg transforms, such as `days(trade_time)`.
        sorted_by: How rows lie inside a file.
        hour_column: The event time that says which hour a row belongs to; None for tables that have no hours.
        window: How much exchange time is replaced at once: the hour, or what encloses it, counted from midnight UTC.
        rules: Promises about single rows, checked by a gate.
        streamed: Whether a streaming query appends to it on `main`.
        freshness: How old the newest row may be before someone should look.
        retention: How long rows are kept; None keeps them for ever.
        made_from: The tables that its rows are made from, `layer.name`; empty for Bronze, which topics fill, and for
            dbt's models, of which its manifest knows.
        upkeep: How its files are kept.
    """

    layer: Layer
    name: str
    description: str
    owner: str
    columns: tuple[Column, ...]
    grain: tuple[str, ...]
    partitioned_by: tuple[str, ...] = ()
    sorted_by: tuple[str, ...] = ()
    hour_column: str | None = None
    window: timedelta = HOUR
    rules: tuple[Rule, ...] = ()
    streamed: bool = False
    freshness: timedelta | None = None
    retention: timedelta | None = None
    made_from: tuple[str, ...] = ()
    upkeep: Upkeep = Upkeep()

    def __post_init__(self) -> None:
        """Refuse a table that contradicts itself, naming every fault at once."""
        names = [column.name for column in self.columns]
        faults = [f"column {name} stands twice" for name in sorted({name for name in names if names.count(name) > 1})]
        faults += [f"grain names {name}, which is no column" for name in self.grain if name not in names]
        if self.hour_column is not None and self.hour_column not in names:
            faults.append(f"hour_column {self.hour_column} is no column")
        if self.window < HOUR or DAY % self.window:
            faults.append(f"a window of {self.window} is not whole hours that divide a day")
        if self.upkeep.compaction is Compaction.SORT and not self.sorted_by:
            faults.append("it is compacted by sorting, and sorted by nothing")
        if faults:
            raise ValueError(f"contract {self.full_name}: " + "; ".join(faults))

    @property
    def full_name(self) -> str:
        """`layer.name`, as people and the catalog say it."""
        return f"{self.layer}.{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in the table's order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return one column by its name.

        Raises:
            KeyError: If the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.full_name} has no column {name}; it has {', '.join(self.column_names)}")
