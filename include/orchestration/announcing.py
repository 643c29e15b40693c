"""Telling Airflow that an hour of each table can be read: what it is made from, and the facts of how it came about."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import TaskGroup, XComArg, get_current_context, task

from include.contracts import bronze, gold, silver
from include.contracts import table as table_of
from include.orchestration.hour_facts import measure
from include.orchestration.hours import Hour
from include.orchestration.lineage import inputs, read_manifest
from include.renderers.airflow import asset
from include.settings import Settings

OF_HOURS = (bronze.TRADES, bronze.DEAD_LETTERS, bronze.INGESTION_PROGRESS, bronze.INGESTION_EVENTS)
"""The tables of Bronze that an hour is made from or judged by."""
TABLES = (*OF_HOURS, *silver.TABLES, *gold.TABLES)
UNJUDGED: dict[str, Any] = {"content_hash": None, "verdict": None, "warnings": []}
"""What a gate would say of a table, had it looked at its rows one by one."""


@task
def measure_hour(publication: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Measure the hour as it was published; the result is by table: its snapshot, rows, bytes, what is missing."""
    settings, dag_run = Settings.load(), get_current_context()["dag_run"]
    facts = measure(settings, publication["hash_after"], Hour.of_key(dag_run.partition_key), TABLES)
    published_at = datetime.fromisoformat(publication["published_at"])
    # Of a run that was cleared and goes on, Airflow counts from there.
    duration_s = round((published_at - dag_run.start_date).total_seconds(), 3) if dag_run.start_date else None
    return {name: {**of_table, "duration_s": duration_s} for name, of_table in facts.items()}


@task
def announce(full_name: str) -> None:
    """Emit the table's asset: this hour of it can be read, and how that came about."""
    context = get_current_context()
    ti = context["ti"]
    evidence = ti.xcom_pull("wait_for_hour")
    publication = ti.xcom_pull("publish")
    facts = ti.xcom_pull("measure_hour")
    judged = ti.xcom_pull("gate_bronze") | ti.xcom_pull("gate_silver") | ti.xcom_pull("gate_gold")
    context["outlet_events"][asset(table_of(full_name))].extra = {
        "partition_key": context["dag_run"].partition_key,
        "nessie_hash_before": publication["hash_before"],
        "nessie_hash_after": publication["hash_after"],
        "bronze_offsets": evidence["offsets"],
        "silent_products": evidence["silent"],
        **facts[full_name],
        **judged.get(full_name, UNJUDGED),
    }


def announce_tables(settings: Settings, measured: XComArg, *, group_id: str) -> TaskGroup:
    """Give a task per table of the hour. What it is made from are its inlets, so Airflow draws the tables' lineage.

    Cosmos' own assets would be announced before the hour is published, and lose its partition key.

    Raises:
        FileNotFoundError: If dbt has made no manifest.
    """
    manifest = read_manifest(settings)
    with TaskGroup(group_id) as announced:
        for table in TABLES:
            name = f"{table.layer}_{table.name}"
            announce.override(task_id=name, inlets=list(inputs(table, manifest)), outlets=[asset(table)])(
                table.full_name
            )
    measured >> announced
    return announced
