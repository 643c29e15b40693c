"""The tasks by which a person says what is wanted of the ingestion."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, Context, Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration.ingestion import FETCH_HISTORY, SERVICES, WRITER, wished
from include.orchestration.supervision import WANTED, fence, scale_writer, wanted
from include.orchestration.triggers import DrainTrigger
from include.settings import Settings
from include.supervisord import Supervisord

log = logging.getLogger(__name__)

ALL = "all"


@task
def act() -> str:
    """Note what is wanted, then make it so; the result is the action.

    Raises:
        AirflowFailException: If the chosen service is none of this stack's, or cannot be scaled.
    """
    context, settings = get_current_context(), Settings.load()
    action, service, cores = (context["params"][name] for name in ("action", "service", "cores"))
    if action == FETCH_HISTORY:
        return str(action)
    chosen = SERVICES if service == ALL or action == "drain" else (service,)
    if action == "scale":
        if service not in (ALL, WRITER):
            raise AirflowFailException(f"{service} is one process a venue and has no scale; {WRITER} has")
        chosen = (WRITER,)
    supervisord = Supervisord.of(settings)
    there = {process.name for process in supervisord.processes()}
    if service not in (ALL, *there):
        raise AirflowFailException(f"{service} is not part of this stack; there are {', '.join(sorted(there))}")
    # Noted under the lock: of two people who choose at once, one comes after the other.
    with fence(settings).intervening():
        wish = wished(wanted(), action, chosen, datetime.now(UTC), cores)
        Variable.set(WANTED, wish.as_json(), serialize_json=True)
        scale_writer(supervisord, settings, wish)
        # First what gives, then what takes.
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
            trigger = DrainTrigger(WANTED)
            self.defer(trigger=trigger, method_name="drained")

    def drained(self, context: Context, event: dict[str, Any]) -> None:
        """Go on: nothing waits any more, or somebody wants the producers to send again."""
        self.log.info(event["kind"])


@task
def stop_writer() -> None:
    """Let the Bronze writer stand still, too, once all is drained, unless a producer is to send again."""
    if get_current_context()["params"]["action"] != "drain":
        return
    settings = Settings.load()
    with fence(settings).intervening():
        wish = wanted()
        if not wish.is_drained:
            log.warning("somebody chose otherwise meanwhile: %s goes on", WRITER)
            return
        Variable.set(WANTED, replace(wish, paused=wish.paused | {WRITER}).as_json(), serialize_json=True)
        Supervisord.of(settings).stop(WRITER)
