"""Records as Airflow keeps them of hours that ran, written straight to its tables: thousands within a second."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import Connection, insert, select

HOURLY = "trades_hourly"
KEY = "%Y-%m-%dT%H"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Records:
    """What Airflow would have written.

    Args:
        connection: To Airflow's database; the caller commits.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._assets: dict[str, int] = {}

    def run(
        self,
        hour: str,
        state: str = "success",
        *,
        run_id: str | None = None,
        failed: tuple[str, ...] = (),
        at: datetime = NOON,
    ) -> str:
        """Write a run of an hour, and the tasks of it that failed; return its id."""
        run_id = run_id or f"scheduled__{hour}"
        self._add_run(HOURLY, run_id, state, at, partition_key=hour)
        for task_id in failed:
            row = {"id": uuid4(), "dag_id": HOURLY, "run_id": run_id, "task_id": task_id, "state": "failed"}
            row |= {"map_index": -1, "try_number": 1, "max_tries": 0, "pool": "default_pool", "pool_slots": 1}
            self._connection.execute(insert(TaskInstance.__table__).values(row))
        return run_id

    def request(self, run_id: str, state: str, conf: Mapping[str, Any], *, at: datetime = NOON) -> None:
        """Write a run of the queue."""
        self._add_run("rebuild_hours", run_id, state, at, conf=dict(conf))

    def announce(
        self,
        table: str,
        hour: str | None,
        run_id: str,
        *,
        at: datetime = NOON,
        dag_id: str = HOURLY,
        **extra: Any,
    ) -> None:
        """Write an asset event of a table."""
        self.announce_all([(table, hour, run_id, at, extra)], dag_id=dag_id)

    def announce_all(
        self, events: list[tuple[str, str | None, str, datetime, dict[str, Any]]], *, dag_id: str = HOURLY
    ) -> None:
        """Write asset events: table, hour, run, moment and facts of each."""
        rows = [
            {
                "asset_id": self._asset(table),
                "partition_key": hour,
                "source_dag_id": dag_id,
                "source_run_id": run_id,
                "source_task_id": "announce",
                "timestamp": at,
                "extra": extra,
            }
            for table, hour, run_id, at, extra in events
        ]
        self._connection.execute(insert(AssetEvent.__table__), rows)

    def _asset(self, table: str) -> int:
        if table not in self._assets:
            known = select(AssetModel.id).where(AssetModel.name == table)
            found = self._connection.execute(known).scalar()
            if found is None:
                uri = f"lake://{table.replace('.', '/')}"
                row = {"name": table, "uri": uri, "group": "", "extra": {}, "created_at": NOON, "updated_at": NOON}
                found = self._connection.execute(insert(AssetModel.__table__).values(row)).inserted_primary_key[0]
            self._assets[table] = found
        return self._assets[table]

    def _add_run(self, dag_id: str, run_id: str, state: str, at: datetime, **more: Any) -> None:
        row = {"dag_id": dag_id, "run_id": run_id, "state": state, "run_type": "manual", "run_after": at}
        row |= {"queued_at": at, "start_date": at, "updated_at": at, "clear_number": 0, "span_status": "not_started"}
        row |= {"end_date": at + timedelta(minutes=3) if state in ("success", "failed") else None, "conf": {}}
        self._connection.execute(insert(DagRun.__table__).values(row | more))


def write_hours(records: Records, tables: tuple[str, ...], count: int, until: datetime) -> None:
    """Write so many hours, the last of which begins at `until`: most published, every kind of trouble among them."""
    facts = json.loads(FACTS)
    events = []
    for n in range(count):
        start = until - n * timedelta(hours=1)
        hour, over = start.strftime(KEY), start + timedelta(hours=1, minutes=4)
        match n % 29:
            case 3:
                continue
            case 5:
                records.run(hour, "failed", failed=("gate_silver",), at=over)
                continue
            case 7:
                records.run(hour, "failed", failed=("bronze_to_silver",), at=over)
                continue
        run_id = records.run(hour, "running" if n == 0 else "queued" if n == 1 else "success", at=over)
        if n < 2:
            run_id = f"earlier__{hour}"
        minutes = {"minutes_complete": 170, "minutes_empty": 60, "minutes_gap": 10 if n % 29 == 11 else 0}
        events += [(table, hour, run_id, over, facts | minutes) for table in tables]
        if n % 29 == 13:
            stale = {"first": hour, "last": hour, "hours": {hour: {"late_count": 3, "is_too_old": True}}}
            found_at = over + timedelta(hours=1)
            records.announce("ops.late_trades", None, "late", at=found_at, dag_id="late_trades", **stale)
    records.announce_all(events)


FACTS = """{
  "partition_key": "as of the event", "rows": 18234, "verdict": "pass", "warnings": [],
  "content_hash": "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
  "nessie_hash_before": "2e1cfa82b035c26cbbbdae632cea070514eb8b773f616aaeaf668e2f0be8f10d",
  "nessie_hash_after": "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",
  "bronze_offsets": {"coinbase.raw.trades": {"0": 51234, "1": 48876, "2": 60001}}, "silent_products": [],
  "snapshot_id": "6942011283177230412", "bytes": 734003, "duration_s": 61.4
}"""
