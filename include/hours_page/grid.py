"""The grid of the hours page: from what is known of runs and publications to a status for each table and hour. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from include.contracts.table import Table
from include.orchestration.hours import Hour

GATE = "gate_"
"""What the id of a task begins with that judges."""
ACTIVE = ("queued", "running")
"""The states of a run that is on its way."""


class Status(StrEnum):
    """What a person on call has to know of one table in one hour; the letter stands for it in a row."""

    PUBLISHED = "p"
    GAP = "i"
    STALE = "s"
    QUEUED = "q"
    RUNNING = "r"
    MISSING = "m"
    FAILED = "f"
    FAILED_GATE = "g"


WORST_FIRST = (
    Status.FAILED_GATE,
    Status.FAILED,
    Status.MISSING,
    Status.STALE,
    Status.RUNNING,
    Status.QUEUED,
    Status.GAP,
    Status.PUBLISHED,
)
"""Which status a day has whose hours differ: that of the hour that needs a person most."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of one hour.

    Args:
        hour: The partition key.
        state: As Airflow has it.
        began_at: When it began, or began anew because somebody cleared it; None while it is queued.
        failed_tasks: Which of its tasks failed by themselves.
    """

    hour: str
    run_id: str
    state: str
    began_at: datetime | None = None
    failed_tasks: tuple[str, ...] = ()

    @property
    def was_tried(self) -> bool:
        """Whether it says anything about the hour; a run that was cancelled before its first task does not."""
        return self.state != "failed" or bool(self.failed_tasks)

    def has_announced(self, published: Publication | None) -> bool:
        """Whether a publication is its work, since it began."""
        return bool(
            published
            and published.run_id == self.run_id
            and self.began_at is not None
            and published.published_at >= self.began_at
        )


@dataclass(frozen=True, slots=True)
class Publication:
    """The newest announcement of one hour of one table.

    Args:
        table: `layer.name`.
        hour: The partition key.
        run_id: Whose work it is.
        gaps: How many of the hour's candles lack trades.
    """

    table: str
    hour: str
    run_id: str
    published_at: datetime
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the newest published hour of a table is, against what its contract promises.

    Args:
        newest: Its partition key; None if none was published.
        age: From the end of that hour until now.
        promised: The most that the contract allows; None if it says nothing.
    """

    newest: str | None
    age: timedelta | None
    promised: timedelta | None

    @property
    def is_kept(self) -> bool | None:
        """Whether the promise is kept; None without one."""
        if self.promised is None:
            return None
        return self.age is not None and self.age <= self.promised


def hours_between(first: Hour, last: Hour) -> list[str]:
    """Name the hours from the first to the last, both included; none if they stand the other way."""
    count = max(0, (last.start - first.start) // timedelta(hours=1) + 1)
    return [Hour(first.start + timedelta(hours=n)).key for n in range(count)]


def statuses(
    tables: Sequence[str],
    hours: Sequence[str],
    attempts: Iterable[Attempt],
    publications: Iterable[Publication],
    stale_since: Mapping[str, datetime],
) -> dict[str, list[Status]]:
    """Give each table its row of statuses.

    Args:
        attempts: In the order in which they ended, those that are on their way last.
        publications: At most one of a table and hour.
        stale_since: By hour, when trades were last found that its Silver lacks.
    """
    newest = {attempt.hour: attempt for attempt in attempts if attempt.was_tried}
    published = {(one.table, one.hour): one for one in publications}
    return {
        table: [_status(newest.get(hour), published.get((table, hour)), stale_since.get(hour)) for hour in hours]
        for table in tables
    }


def by_day(hours: Sequence[str], row: Sequence[Status]) -> dict[str, Status]:
    """Give each day (`2026-11-20`) of a row the status of its hour that needs a person most."""
    days: dict[str, Status] = {}
    for hour, status in zip(hours, row, strict=True):
        day = hour[: len("2026-11-20")]
        days[day] = min(days.get(day, status), status, key=WORST_FIRST.index)
    return days


def freshness(table: Table, newest: str | None, now: datetime) -> Freshness:
    """Hold a table's newest published hour against its contract."""
    age = now - Hour.of_key(newest).end if newest else None
    return Freshness(newest, age, table.freshness)


def _status(attempt: Attempt | None, published: Publication | None, stale_since: datetime | None) -> Status:
    # What a run has announced stays so, whatever becomes of its other tasks.
    if attempt and not attempt.has_announced(published):
        if attempt.state in ACTIVE:
            return Status.RUNNING if attempt.state == "running" else Status.QUEUED
        if attempt.state == "failed":
            by_gate = any(task.startswith(GATE) for task in attempt.failed_tasks)
            return Status.FAILED_GATE if by_gate else Status.FAILED
    if published is None:
        return Status.MISSING
    if stale_since is not None and stale_since > published.published_at:
        return Status.STALE
    return Status.GAP if published.gaps else Status.PUBLISHED
