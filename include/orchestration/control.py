"""The tasks by which a person says what is wanted of the ingestion."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, Context, Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration.ingestion import SERVICES, WRITER, Wanted, wished
from include.orchestration.supervision import WANTED, fence, wanted
from include.orchestration.triggers import DrainTrigger
from include.settings import Settings
from include.supervisord import Supervisord

log = logging.getLogger(__name__)

ALL = "all"


@task
def act() -> str:
    """Note what is wanted, then make it so; the result is the action.

    Raises:
        AirflowFailException: If the chosen service is none of this stack's.
    """
    context, settings = get_current_context(), Settings.load()
    action, service = context["params"]["action"], context["params"]["service"]
    chosen = SERVICES if service == ALL or action == "drain" else (service,)
    supervisord = Supervisord(settings.state_dir)
    there = {process.name for process in supervisord.processes()}
    if service not in (ALL, *there):
        raise AirflowFailException(f"{service} is not part of this stack; there are {', '.join(sorted(there))}")
    wish = wished(wanted(), action, chosen, datetime.now(UTC))
    Variable.set(WANTED, wish.as_json(), serialize_json=True)
    # First what gives, then what takes.
    with fence(settings).intervening():
        for name in reversed([name for name in chosen if name in there]):
            if name in wish.paused or action == "restart":
                supervisord.stop(name)
            if name not in wish.paused:
                supervisord.launch(name)
            log.info("%s: %s", action, name)
    return str(action)


class WaitUntilDrained(BaseOperator):
    """Succeeds once Bronze has all that the producers sent; at once unless the action is to drain."""

    ui_color = "#e6f1f2"

    def execute(self, context: Context) -> None:
        """Let the triggerer wait."""
        if context["params"]["action"] == "drain":
            trigger = DrainTrigger()  # type: ignore[no-untyped-call]
            self.defer(trigger=trigger, method_name="drained")

    def drained(self, context: Context, event: dict[str, Any]) -> None:
        """Go on: nothing waits any more."""


@task
def stop_writer() -> None:
    """Let the Bronze writer stand still, too, once all is drained."""
    if get_current_context()["params"]["action"] != "drain":
        return
    settings = Settings.load()
    wish = wanted()
    Variable.set(WANTED, Wanted(wish.paused | {WRITER}, wish.forgiven).as_json(), serialize_json=True)
    with fence(settings).intervening():
        Supervisord(settings.state_dir).stop(WRITER)
