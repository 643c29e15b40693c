"""What the hours page shows, from Airflow's own database: runs, asset events, backfills. Bounded by the hours shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.backfill import Backfill, BackfillDagRun
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import func, select

from include.contracts import ops
from include.hours_page.grid import ACTIVE, Attempt, Publication
from include.orchestration.announcing import TABLES
from include.orchestration.rebuilding import DAG, HOURLY, MARK

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

NAMES = tuple(table.full_name for table in TABLES)
ENDED_SHOWN = 5
"""How many requests that are over are shown."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the grid is made of."""

    attempts: list[Attempt]
    publications: list[Publication]
    stale_since: dict[str, datetime]
    newest: dict[str, str]
    """By table, its newest published hour."""


def gather(session: Session, hours: Sequence[str]) -> Facts:
    """Read what is known of some hours that follow each other."""
    first, last = hours[0], hours[-1]
    return Facts(
        attempts=_attempts(session, first, last),
        publications=_publications(session, first, last),
        stale_since=_stale_since(session, first, last),
        newest=_newest(session),
    )


def first_published(session: Session) -> str | None:
    """Return the first hour that was ever published."""
    found: str | None = session.scalar(_of_tables(select(func.min(AssetEvent.partition_key))))
    return found


def tables_of(session: Session, hour: str) -> dict[str, dict[str, Any]]:
    """Return by table what was announced of an hour last: who did it, when, and the facts."""
    newest = _newest_events(hour, hour)
    query = select(AssetModel.name, AssetEvent.source_run_id, AssetEvent.timestamp, AssetEvent.extra)
    query = query.join(newest, newest.c.id == AssetEvent.id).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
    return {
        name: {"run_id": run_id, "published_at": published_at.isoformat(), "facts": extra}
        for name, run_id, published_at, extra in _rows(session, query)
    }


def runs_of(session: Session, hour: str) -> list[dict[str, Any]]:
    """Return the runs of an hour, newest first: their tasks that failed, and the branches on which they worked."""
    query = select(DagRun).where(DagRun.dag_id == HOURLY, DagRun.partition_key == hour).order_by(DagRun.id.desc())
    runs = list(session.scalars(query))
    failed = _failed_tasks(session, hour, hour)
    opened = select(XComModel.run_id, XComModel.value).where(
        XComModel.dag_id == HOURLY,
        XComModel.task_id == "open_branch",
        XComModel.key == "return_value",
        XComModel.run_id.in_([run.run_id for run in runs]),
    )
    branches = {row.run_id: XComModel.deserialize_value(row) for row in _rows(session, opened)}
    return [
        {
            "run_id": run.run_id,
            "kind": str(run.run_type),
            "state": str(run.state),
            "began_at": _moment(run.start_date),
            "ended_at": _moment(run.end_date),
            "failed_tasks": failed.get(run.run_id, []),
            "branch": branches.get(run.run_id),
            "note": run.note,
        }
        for run in runs
    ]


def span_of(session: Session, run_id: str) -> tuple[datetime, datetime | None] | None:
    """Return from when to when a run of an hour worked; None if there is no such run."""
    query = select(DagRun.start_date, DagRun.end_date).where(DagRun.dag_id == HOURLY, DagRun.run_id == run_id)
    found = session.execute(query).one_or_none()
    return (found[0], found[1]) if found and found[0] else None


def queue(session: Session) -> dict[str, list[dict[str, Any]]]:
    """Return the requests to rebuild, those in the queue in their order and a few that are over; and the backfills."""
    chosen = select(DagRun).where(DagRun.dag_id == DAG)
    waiting = session.scalars(chosen.where(DagRun.state.in_(ACTIVE)).order_by(DagRun.run_after, DagRun.id))
    over = session.scalars(chosen.where(DagRun.state.not_in(ACTIVE)).order_by(DagRun.id.desc()).limit(ENDED_SHOWN))
    requests = [
        {
            "run_id": run.run_id,
            "state": str(run.state),
            "asked_at": _moment(run.run_after),
            "ended_at": _moment(run.end_date),
            "by": run.triggering_user_name,
            "note": run.note,
            **{name: (run.conf or {}).get(name) for name in ("first_hour", "last_hour", "backwards")},
        }
        for run in (*waiting, *over)
    ]
    return {"requests": requests, "backfills": _backfills(session)}


def _attempts(session: Session, first: str, last: str) -> list[Attempt]:
    query = select(DagRun.partition_key, DagRun.run_id, DagRun.state, DagRun.start_date).where(
        DagRun.dag_id == HOURLY, DagRun.partition_key.between(first, last)
    )
    # Not by when they were asked for: an old run that is cleared speaks last.
    in_order = query.order_by(DagRun.end_date.is_(None), DagRun.end_date, DagRun.id)
    failed = _failed_tasks(session, first, last)
    return [
        Attempt(hour, run_id, str(state), began_at, tuple(failed.get(run_id, ())))
        for hour, run_id, state, began_at in _rows(session, in_order)
    ]


def _failed_tasks(session: Session, first: str, last: str) -> dict[str, list[str]]:
    query = (
        select(TaskInstance.run_id, TaskInstance.task_id)
        .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
        .where(
            DagRun.dag_id == HOURLY,
            DagRun.partition_key.between(first, last),
            DagRun.state == "failed",
            TaskInstance.state == "failed",
        )
        .order_by(TaskInstance.end_date)
    )
    failed: dict[str, list[str]] = {}
    for run_id, task_id in _rows(session, query):
        failed.setdefault(run_id, []).append(task_id)
    return failed


def _publications(session: Session, first: str, last: str) -> list[Publication]:
    newest = _newest_events(first, last)
    query = (
        select(
            AssetModel.name,
            AssetEvent.partition_key,
            AssetEvent.source_run_id,
            AssetEvent.timestamp,
            # The database takes the number out, so that thousands of facts are not parsed here.
            AssetEvent.extra["minutes_gap"].as_integer(),
        )
        .join(newest, newest.c.id == AssetEvent.id)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
    )
    return [Publication(name, hour, run_id, at, gaps or 0) for name, hour, run_id, at, gaps in _rows(session, query)]


def _stale_since(session: Session, first: str, last: str) -> dict[str, datetime]:
    """Read when trades of hours were found that came late; no look is older than the hour of which it tells."""
    query = (
        select(AssetEvent.timestamp, AssetEvent.extra)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .where(AssetModel.name == ops.LATE_TRADES.full_name)
        .where(AssetEvent.extra["first"].as_string() <= last, AssetEvent.extra["last"].as_string() >= first)
        .order_by(AssetEvent.timestamp)
    )
    return {hour: at for at, extra in _rows(session, query) for hour in extra["hours"]}


def _newest(session: Session) -> dict[str, str]:
    query = _of_tables(select(AssetModel.name, func.max(AssetEvent.partition_key)))
    return {name: hour for name, hour in _rows(session, query.group_by(AssetModel.name)) if hour}


def _newest_events(first: str, last: str) -> Any:  # noqa: ANN401 (a subquery of SQLAlchemy)
    query = _of_tables(select(func.max(AssetEvent.id).label("id"))).where(AssetEvent.partition_key.between(first, last))
    return query.group_by(AssetEvent.asset_id, AssetEvent.partition_key).subquery()


def _of_tables(query: Any) -> Any:  # noqa: ANN401 (a query of SQLAlchemy)
    return query.join_from(AssetEvent, AssetModel, AssetModel.id == AssetEvent.asset_id).where(
        AssetModel.name.in_(NAMES), AssetEvent.source_dag_id == HOURLY
    )


def _rows(session: Session, query: Any) -> Sequence[Any]:  # noqa: ANN401 (a query of SQLAlchemy)
    return session.execute(query).all()


def _backfills(session: Session) -> list[dict[str, Any]]:
    active = list(
        session.scalars(
            select(Backfill).where(Backfill.dag_id == HOURLY, Backfill.completed_at.is_(None)).order_by(Backfill.id)
        )
    )
    counted = (
        select(BackfillDagRun.backfill_id, DagRun.state, func.count())
        .join(DagRun, DagRun.id == BackfillDagRun.dag_run_id)
        .where(BackfillDagRun.backfill_id.in_([backfill.id for backfill in active]))
        .group_by(BackfillDagRun.backfill_id, DagRun.state)
    )
    states: dict[int, dict[str, int]] = {}
    for backfill_id, state, count in _rows(session, counted):
        states.setdefault(backfill_id, {})[str(state)] = count
    return [
        {
            "id": backfill.id,
            "first_hour": backfill.from_date.isoformat(),
            "last_hour": backfill.to_date.isoformat(),
            "asked_by": (backfill.dag_run_conf or {}).get(MARK),
            "is_paused": bool(backfill.is_paused),
            "runs": states.get(backfill.id, {}),
        }
        for backfill in active
    ]


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
