"""Building hours again, one request after the other: Airflow lets a DAG have one backfill at a time.

What is to be done next follows from what Airflow knows. Each run that a request begins carries the request's mark, so
whoever is killed in between finds its own work again and begins none twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from include.orchestration.airflow_api import AirflowApi
from include.orchestration.hours import Hour

DAG = "rebuild_hours"
"""The DAG whose runs are the queue."""
HOURLY = "trades_hourly"
"""The DAG that builds an hour."""
MARK = "rebuild"
"""The entry of a backfill's configuration, and of its runs', that says which request it is of."""
MOST_AT_ONCE = 168
"""How many hours one backfill has: Airflow makes all its runs while it is asked for it."""
ACTIVE = ("queued", "running")
LISTED = 12
"""How many hours are named one by one."""
AN_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Request:
    """Which hours are to be built again, the last one included, and by whose mark they are known."""

    first: Hour
    last: Hour
    backwards: bool
    mark: str

    @property
    def hours(self) -> list[Hour]:
        """The hours in the order in which they are to be built."""
        count = (self.last.start - self.first.start) // AN_HOUR + 1
        hours = [Hour(self.first.start + n * AN_HOUR) for n in range(count)]
        return hours[::-1] if self.backwards else hours

    def as_json(self) -> dict[str, Any]:
        """Give what JSON can carry."""
        return {"first": self.first.key, "last": self.last.key, "backwards": self.backwards, "mark": self.mark}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave."""
        return cls(Hour.of_key(told["first"]), Hour.of_key(told["last"]), told["backwards"], told["mark"])

    def __str__(self) -> str:
        if self.first == self.last:
            return f"hour {self.first}"
        return f"hours {self.first} to {self.last}, {'newest' if self.backwards else 'oldest'} first"


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill of the hourly DAG.

    Args:
        mark: Of the request that began it; None if a person did.
    """

    id: int
    mark: str | None
    is_over: bool
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Build:
    """Hours that follow each other are to be built now, the last one included."""

    first: Hour
    last: Hour


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done yet, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do.

    Args:
        states: How each hour's run ended; an hour that was given up has none.
        is_cancelled: Whether a person ended it before its end.
    """

    states: Mapping[str, str]
    is_cancelled: bool = False

    @property
    def unbuilt(self) -> list[str]:
        """The hours that were not built, the earliest first."""
        return sorted(hour for hour, state in self.states.items() if state != "success")

    def __str__(self) -> str:
        count, unbuilt = len(self.states), self.unbuilt
        if not unbuilt:
            return f"{count} of {count} hours were built"
        named = ", ".join(unbuilt[:LISTED]) + (f" and {len(unbuilt) - LISTED} more" if len(unbuilt) > LISTED else "")
        ending = "the backfill was cancelled" if self.is_cancelled else "their runs say why"
        return f"{len(unbuilt)} of {count} hours were not built ({ending}): {named}"


Step = Build | Wait | Done


def request_of(form: Mapping[str, Any], *, mark: str, covered_from: datetime | None, now: datetime) -> Request:
    """Read the form.

    Args:
        form: `first_hour` and `last_hour`, their starts in ISO 8601; `backwards`.
        covered_from: From when on the lake follows its first product; None if it follows none yet.

    Raises:
        ValueError: If the hours cannot be built.
    """
    first, last = (_hour(form, name) for name in ("first_hour", "last_hour"))
    if first > last:
        raise ValueError(f"first_hour {first} comes after last_hour {last}; to build the newest first choose backwards")
    newest = Hour(now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - AN_HOUR)
    if last > newest:
        raise ValueError(f"hour {last} is not over yet; the newest that can be built is {newest}")
    if covered_from is None:
        raise ValueError("no product is followed yet, so there is no hour to build")
    if first.start < covered_from:
        raise ValueError(
            f"hour {first} lies before the lake's first: its products are followed from {covered_from:%Y-%m-%dT%H:%MZ} "
            "on; fetch the history of that hour first, with streaming_control"
        )
    return Request(first, last, bool(form["backwards"]), mark)


def next_step(
    request: Request, backfills: Sequence[Backfill], own: Mapping[str, str], in_flight: Collection[str]
) -> Step:
    """Say what is to be done next for a request.

    Args:
        backfills: Those of the hourly DAG.
        own: By hour, the state of the newest run that this request began.
        in_flight: Hours that others are building.
    """
    if waiting := waiting_for_backfill(request, backfills):
        return waiting
    states = {hour.key: own.get(hour.key, "none") for hour in request.hours}
    if busy := [hour for hour, state in states.items() if state in ACTIVE]:
        return Wait(f"the end of its runs of {_listing(busy)}")
    cancelled = any(backfill.mark == request.mark and backfill.is_paused for backfill in backfills)
    left = [hour for hour in request.hours if hour.key not in own]
    if cancelled and Done(states).unbuilt:
        return Done(states, is_cancelled=True)
    if not left:
        return Done(states)
    free = [hour for hour in left if hour.key not in in_flight]
    if not free:
        return Wait(f"the end of others' runs of {_listing([hour.key for hour in left])}")
    chunk = [free[0]]
    for hour in free[1:MOST_AT_ONCE]:
        if abs(hour.start - chunk[-1].start) != AN_HOUR:
            break
        chunk.append(hour)
    return Build(min(chunk), max(chunk))


def waiting_for_backfill(request: Request, backfills: Sequence[Backfill]) -> Wait | None:
    """Say for which backfill a request has to wait; None if none is active."""
    active = next((backfill for backfill in backfills if not backfill.is_over), None)
    if active is None:
        return None
    if active.mark == request.mark:
        return Wait(f"its backfill {active.id}{', which is paused' if active.is_paused else ''}")
    return Wait(f"backfill {active.id}, which {active.mark or 'a person'} began: Airflow has one at a time")


def look(airflow: AirflowApi, request: Request) -> Step:
    """Ask Airflow what is to be done next for a request.

    Raises:
        httpx.HTTPError: If Airflow does not answer, or refuses.
    """
    backfills = [
        Backfill(
            told["id"], (told["dag_run_conf"] or {}).get(MARK), told["completed_at"] is not None, told["is_paused"]
        )
        for told in airflow.backfills(HOURLY)
    ]
    # Most looks end here: what a backfill has come to is asked for once, when it is over.
    if waiting := waiting_for_backfill(request, backfills):
        return waiting
    own = {
        run["partition_key"]: run["state"]
        for run in airflow.runs(HOURLY, conf_contains=request.mark)
        if (run["conf"] or {}).get(MARK) == request.mark
    }
    in_flight = {run["partition_key"] for run in airflow.runs(HOURLY, state=ACTIVE)}
    return next_step(request, backfills, own, in_flight)


def begin(airflow: AirflowApi, request: Request, build: Build) -> bool:
    """Begin the backfill of some of a request's hours; return whether it began, and none was there by now.

    Raises:
        httpx.HTTPError: If Airflow does not answer, or refuses.
    """
    return airflow.begin_backfill(
        HOURLY,
        build.first.start,
        build.last.start,
        backwards=request.backwards,
        # One hour has the turn at a time; more runs would only wait for it.
        max_active_runs=1,
        conf={MARK: request.mark},
    )


def _hour(form: Mapping[str, Any], name: str) -> Hour:
    moment = datetime.fromisoformat(form[name])
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment != moment.replace(minute=0, second=0, microsecond=0):
        raise ValueError(f"{name} {form[name]} is not the start of an hour")
    return Hour(moment)


def _listing(hours: Sequence[str]) -> str:
    return ", ".join(hours[:LISTED]) + (" …" if len(hours) > LISTED else "")
