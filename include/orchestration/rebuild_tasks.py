"""The task that has hours built again, in its turn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration import rebuilding
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.evidence import covered_from, read_progress
from include.orchestration.rebuilding import Build, Done, Request, Wait
from include.orchestration.triggers import RebuildTrigger
from include.settings import Settings


class RebuildHours(BaseOperator):
    """Has the hours of the run's form built again by backfills, and succeeds once all of them are.

    It holds no worker while it waits for the backfills before it and for its own. A further try, and one after any
    crash, goes on with what the one before began.
    """

    ui_color = "#e6f1f2"

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the form and begin.

        Raises:
            AirflowFailException: If the hours cannot be built, or some of them were not.
        """
        covered = covered_from(read_progress(Settings.load().kafka.address))
        try:
            request = rebuilding.request_of(
                context["params"],
                mark=context["ti"].run_id,
                covered_from=min(covered.values(), default=None),
                now=datetime.now(UTC),
            )
        except ValueError as error:
            with AirflowApi.of(Settings.load()) as airflow:
                airflow.write_note(rebuilding.DAG, context["ti"].run_id, f"Refused: {error}")
            raise AirflowFailException(str(error)) from error
        self.log.info("%s", request)
        return self._go_on(context, request)

    def resume(self, context: Context, event: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
        """Go on when there is something to do again."""
        return self._go_on(context, Request.of(request))

    def _go_on(self, context: Context, request: Request) -> dict[str, Any]:
        with AirflowApi.of(Settings.load()) as airflow:
            while not isinstance(step := rebuilding.look(airflow, request), Done):
                match step:
                    case Build(first, last):
                        began = rebuilding.begin(airflow, request, step)
                        self.log.info("%s to %s: %s", first, last, "begun" if began else "another backfill came first")
                    case Wait(why):
                        self.log.info("waiting for %s", why)
                        self.defer(
                            trigger=RebuildTrigger(request.as_json()),
                            method_name="resume",
                            kwargs={"request": request.as_json()},
                        )
            airflow.write_note(rebuilding.DAG, context["ti"].run_id, f"{request}: {step}")
        if step.unbuilt:
            raise AirflowFailException(f"{request}: {step}")
        self.log.info("%s", step)
        return {"built": sorted(step.states)}
