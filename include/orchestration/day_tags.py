"""A tag for each published day: the lake as it was once the day was whole, to be read under a name.

The tag stands on the head of the branch that readers see, as the maintenance after the day's last hour left it: so it
holds on to few large files and not to the many small ones that they were made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from include.contracts import silver
from include.orchestration.lake import instant, rows
from include.orchestration.nessie import (
    Nessie,
    ReferenceExistsError,
    ReferenceMovedError,
    ReferenceNotFoundError,
)

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

PREFIX = "day-"
HOUR = timedelta(hours=1)


def published_days(catalog: Catalog, since: datetime, first_hour: datetime | None) -> list[date]:
    """Return the days that ended at some moment or later and of which every hour is published, oldest first.

    Args:
        first_hour: The lake's first hour; hours before it are no day's. None: there is no such hour.
    """
    column = rows(
        catalog, silver.PRODUCT_HOURS, f"hour_start >= '{instant(since - timedelta(days=1))}'", ("hour_start",)
    )
    return whole_days(set(column["hour_start"].to_pylist()), since, first_hour)


def whole_days(hours: set[datetime], since: datetime, first_hour: datetime | None) -> list[date]:
    """Return the days that ended at some moment or later and have all their hours among some, oldest first."""
    return [
        day
        for day in sorted({hour.date() for hour in hours})
        if _midnight(day) + timedelta(days=1) >= since
        and all(
            (first_hour is not None and start < first_hour) or start in hours
            for start in (_midnight(day) + n * HOUR for n in range(24))
        )
    ]


def make(nessie: Nessie, days: Iterable[date], *, of: str) -> list[str]:
    """Tag days that have no tag yet, at the head of a branch; return the new tags' names."""
    head, made = nessie.get(of), []
    for day in days:
        name = f"{PREFIX}{day}"
        try:
            nessie.create(name, at=head.hash, source=of, type="TAG")
        except ReferenceExistsError:
            continue
        made.append(name)
    return made


def forget(nessie: Nessie, *, before: datetime) -> list[str]:
    """Delete the tags of days that ended before a moment; return their names."""
    forgotten = []
    for tag in nessie.references():
        day = _day_of(tag.name)
        if tag.type != "TAG" or day is None or _midnight(day) + timedelta(days=1) >= before:
            continue
        try:
            nessie.delete(tag)
        except (ReferenceMovedError, ReferenceNotFoundError):
            continue
        forgotten.append(tag.name)
    return forgotten


def _day_of(name: str) -> date | None:
    try:
        return date.fromisoformat(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
