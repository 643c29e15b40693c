"""Keeping the gates' verdicts where the hour itself is never written: on the branch that readers see."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.contracts import ops
from include.quality.judgement import Verdict
from include.settings import Settings


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt at which hour the verdicts are about."""

    partition_key: str
    run_id: str
    try_number: int
    branch: str
    checked_at: datetime


def keep(settings: Settings, attempt: Attempt, verdicts: Sequence[Verdict]) -> None:
    """Write verdicts to `ops.gate_results` in one commit, through the Thrift server.

    Raises:
        Exception: Whatever PyHive raises when the server does not answer or refuses.
    """
    from pyhive import hive

    # It logs each statement whole, at the level of what matters.
    logging.getLogger("pyhive").setLevel(logging.WARNING)
    table = ops.GATE_RESULTS
    values = [
        (
            verdict.table,
            attempt.partition_key,
            verdict.rule_id,
            str(verdict.outcome),
            verdict.checked_count,
            verdict.failed_count,
            verdict.samples_json,
            attempt.run_id,
            attempt.try_number,
            attempt.branch,
            # As text: the driver would write a timestamp without its time zone.
            attempt.checked_at.isoformat(),
        )
        for verdict in verdicts
    ]
    row = "(" + ", ".join("%s" for _ in table.column_names) + ")"
    columns = ", ".join(f"cast({column.name} as {column.type}) as {column.name}" for column in table.columns)
    statement = (
        f"insert into {settings.catalog}.{table.full_name} select {columns} "
        f"from values {', '.join(row for _ in values)} as verdicts ({', '.join(table.column_names)})"
    )
    # Without this prefix Spark's Thrift server ignores the setting.
    session = {f"set:hiveconf:spark.sql.catalog.{settings.catalog}.ref": settings.branch}
    with (
        hive.connect(
            host=settings.thrift.host, port=settings.thrift.port, username="gates", configuration=session
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, tuple(value for row_values in values for value in row_values))
