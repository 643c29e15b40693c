"""The tasks of the daily maintenance: a Spark job a table, the merge of what it did, the sweep, the tags of days."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Context, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.contracts import gold, silver
from include.contracts.table import Table
from include.orchestration import announcing, day_tags, sweeping
from include.orchestration import turn as turns
from include.orchestration.lake import open_catalog
from include.orchestration.lineage import inputs
from include.orchestration.nessie import MergeConflictError, Nessie
from include.orchestration.publishing import BRANCH
from include.orchestration.spark_jobs import end_processes_with, stand_alone
from include.renderers.airflow import asset
from include.settings import CHECKOUT, Settings

log = logging.getLogger(__name__)

BY_TURN = (*silver.TABLES, *gold.TABLES)
"""The tables that hours write, so that only the owner of the turn may; the others are written on `main`."""


class MaintainTable(SparkSubmitOperator):
    """Maintains one table by its contract's policy; the result is how it was before and after, and what was done.

    Tables that hours write are maintained on the branch of the run's turn, all others on `main`. A table that no hour
    announces is announced here, with how it is now.
    """

    def __init__(self, *, table: Table, settings: Settings, **kwargs: Any) -> None:  # noqa: ANN401 (Airflow's own arguments)
        self.table = table.full_name
        self.report = settings.state_dir / "maintenance" / f"{table.full_name}.json"
        is_by_turn = table in BY_TURN
        super().__init__(
            task_id=table.full_name.replace(".", "_"),
            application=str(CHECKOUT / "spark_apps" / "iceberg_maintenance" / "job.py"),
            application_args=[
                f"--table={table.full_name}",
                "--as-of={{ dag_run.run_after.isoformat() }}",
                "--settled-before={{ params.settled_before or dag_run.run_after.strftime('%Y-%m-%dT%H:00+00:00') }}",
                f"--report={self.report}",
            ],
            conf={f"spark.sql.catalog.{settings.catalog}.ref": BRANCH if is_by_turn else settings.branch},
            # What others wait for the turn for, comes first.
            priority_weight=10 if is_by_turn else 1,
            weight_rule="absolute",
            inlets=[] if table in announcing.TABLES else list(inputs(table, {})),
            outlets=[] if table in announcing.TABLES else [asset(table)],
            **kwargs,
        )

    def pre_execute(self, context: Context) -> None:
        """Pass the table over if others were asked for; end what a killed try has left behind.

        Raises:
            AirflowSkipException: If the table is not among those that were asked for.
        """
        chosen = context["params"]["tables"]
        if chosen and self.table not in chosen:
            raise AirflowSkipException(f"{self.table} is not among {', '.join(chosen)}")
        stand_alone(context)
        end_processes_with(f"--report={self.report}")

    # Spark's own operator returns nothing.
    def execute(self, context: Context) -> dict[str, Any]:  # type: ignore[override]
        """Run the job, and tell what it reports."""
        self.report.parent.mkdir(parents=True, exist_ok=True)
        self.report.unlink(missing_ok=True)
        super().execute(context)
        report: dict[str, Any] = json.loads(self.report.read_text())
        self.log.info("%s", report)
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = report["after"]
        return report


@task(trigger_rule=TriggerRule.NONE_FAILED)
def publish_maintenance() -> dict[str, str] | None:
    """Merge what was done to Silver and Gold, in one commit; None if nothing was to be done.

    Not all tables need be asked for, and what follows a setup directly must have none passed over: so the turn is no
    argument.
    """
    settings, context = Settings.load(), get_current_context()
    turn = context["ti"].xcom_pull("take_turn")
    with Nessie(settings.nessie_api) as nessie:
        try:
            held = turns.require(nessie, turn["hash"])
            if turns.drop_unchanged(nessie, held, of=settings.branch):
                log.info("there was nothing to do")
                return None
            message = f"Publish the maintenance of Silver and Gold, {context['dag_run'].run_id}"
            return asdict(turns.publish(nessie, held, into=settings.branch, message=message))
        except (turns.TurnLostError, MergeConflictError) as error:
            raise AirflowFailException(str(error)) from error


@task(trigger_rule=TriggerRule.NONE_FAILED)
def sweep() -> dict[str, int]:
    """Delete the files of the warehouse that nothing reaches; the result is how many, their bytes, and what stays."""
    settings, now = Settings.load(), datetime.now(UTC)
    with Nessie(settings.nessie_api) as nessie:
        return sweeping.sweep(settings, nessie, now)


@task(trigger_rule=TriggerRule.NONE_FAILED)
def tag_days() -> dict[str, Sequence[str]]:
    """Tag each day whose last hour is published, and let go of tags that were kept long enough."""
    settings, now = Settings.load(), datetime.now(UTC)
    with Nessie(settings.nessie_api) as nessie, open_catalog(settings, settings.branch) as catalog:
        days = day_tags.published_days(catalog, now - settings.day_tags_kept, settings.first_hour)
        made = day_tags.make(nessie, days, of=settings.branch)
        forgotten = day_tags.forget(nessie, before=now - settings.day_tags_kept)
    log.info("tagged: %s; forgotten: %s", ", ".join(made) or "none", ", ".join(forgotten) or "none")
    return {"made": made, "forgotten": forgotten}
