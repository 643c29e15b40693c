"""The hour: the partition that all of the pipeline works on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

KEY_FORMAT = "%Y-%m-%dT%H"
"""How Airflow, the jobs and dbt name an hour: `2026-11-20T09`."""


@dataclass(frozen=True, slots=True, order=True)
class Hour:
    """One hour of exchange time, UTC, closed on the left."""

    start: datetime

    @classmethod
    def of_key(cls, key: str | None) -> Self:
        """Read a partition key.

        Raises:
            ValueError: If the key is missing or is not one hour.
        """
        example = "like 2026-11-20T09: start it from the Backfill dialog, or give the trigger a partition key"
        if not key:
            raise ValueError(f"the run has no partition key, so no hour to work on; it needs one {example}")
        try:
            start = datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            raise ValueError(f"partition key {key!r} is not an hour; it needs to be {example}") from None
        return cls(start)

    @property
    def end(self) -> datetime:
        """The first moment after the hour."""
        return self.start + timedelta(hours=1)

    @property
    def key(self) -> str:
        """The hour's partition key."""
        return self.start.strftime(KEY_FORMAT)

    def __str__(self) -> str:
        return self.key
