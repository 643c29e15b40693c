"""The tasks that wait: for the hour to be whole, and for the turn. They hold no worker while they do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NoReturn

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.types import RuntimeTaskInstanceProtocol
from confluent_kafka import KafkaException

from include.orchestration import alerts
from include.orchestration import turn as turns
from include.orchestration.evidence import HourNotCoveredError, Offsets, as_text, hour_watch
from include.orchestration.hours import Hour
from include.orchestration.nessie import Nessie
from include.orchestration.triggers import ALIVE, HourTrigger, TurnTrigger
from include.settings import Settings


class WaitForHour(BaseOperator):
    """Succeeds once every trade of the run's hour that can be had is in Bronze; its result is the evidence."""

    ui_color = "#e6f1f2"

    def execute(self, context: Context) -> dict[str, Any]:
        """Look at once: an hour of history needs no waiting."""
        settings = Settings.load()
        hour = _hour(context)
        evidence = ends = None
        try:
            with hour_watch(settings.kafka.address, settings.followed, hour, settings.silence_limit) as watch:
                evidence = watch.look()
                ends = watch.ends
                self.log.info(watch.status)
        except HourNotCoveredError as error:
            raise AirflowFailException(str(error)) from error
        except KafkaException as error:
            self.log.warning("Kafka does not answer, so we wait for it: %s", error)
        if evidence is None:
            self._wait(hour, waiting_since=datetime.now(UTC).isoformat(), has_warned=False, ends=ends)
        return self._let_through(context, evidence.as_json())

    def resume(self, context: Context, event: dict[str, Any], waiting_since: str) -> dict[str, Any]:
        """Go on when the trigger has something to say."""
        match event["kind"]:
            case "ready":
                return self._let_through(context, event["evidence"])
            case "stalled":
                summary = f"hour {_hour(context)} has waited since {waiting_since}: {event['detail']}"
                alerts.warn(context, summary)
                self._wait(_hour(context), waiting_since=waiting_since, has_warned=True)
            case _:
                raise AirflowFailException(event["detail"])

    def _wait(self, hour: Hour, *, waiting_since: str, has_warned: bool, ends: Offsets | None = None) -> NoReturn:
        trigger = HourTrigger(hour.key, waiting_since, has_warned, as_text(ends) if ends else None)
        self.defer(trigger=trigger, method_name="resume", kwargs={"waiting_since": waiting_since})

    def _let_through(self, context: Context, evidence: dict[str, Any]) -> dict[str, Any]:
        if silent := evidence["silent"]:
            summary = f"hour {evidence['hour']} goes on as a gap without {', '.join(silent)}, silent past the limit"
            alerts.warn(context, summary)
        if uncovered := evidence["uncovered"]:
            self.log.info("not followed in this hour: %s", ", ".join(uncovered))
        return evidence


class TakeTurn(BaseOperator):
    """Succeeds once this attempt alone may change Silver and Gold; its result names its branch and its turn's hash.

    Args:
        is_of_hour: Whether the work is of the run's hour; else the run needs none.
    """

    ui_color = "#f4ecd8"

    def __init__(self, *, is_of_hour: bool = True, **kwargs: Any) -> None:  # noqa: ANN401 (Airflow's own arguments)
        super().__init__(**kwargs)
        self.is_of_hour = is_of_hour

    def execute(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, str]:
        """Claim the turn, or wait until it is worth claiming again."""
        ti = context["ti"]
        owner = turns.Owner(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            branch=turns.branch_name(
                _hour(context) if self.is_of_hour else None,
                dag_id=ti.dag_id,
                run_id=ti.run_id,
                attempt_id=str(ti.id),
                try_number=ti.try_number,
            ),
            claimed_at=datetime.now(UTC).isoformat(),
        )
        with Nessie(Settings.load().nessie_api) as nessie:
            while (turn := turns.claim(nessie, owner)) is None:
                holder = turns.current(nessie)
                if holder is None:
                    continue
                if self._may_still_act(ti, holder.owner):
                    self._wait(holder)
                kept = turns.end(nessie, holder)
                self.log.warning("took the turn over from %s; its branch is kept as %s", holder.owner, kept)
        self.log.info("the turn is ours, for branch %s", owner.branch)
        return {"hash": turn.hash, "branch": owner.branch}

    def _wait(self, holder: turns.Turn) -> NoReturn:
        trigger = TurnTrigger(holder.hash, holder.owner.dag_id, holder.owner.run_id)
        self.defer(trigger=trigger, method_name="execute")

    def _may_still_act(self, ti: RuntimeTaskInstanceProtocol, owner: turns.Owner) -> bool:
        # An earlier attempt of this very run has ended, or this one would not run.
        if owner.is_of(ti.dag_id, ti.run_id):
            return False
        return bool(ti.get_dr_count(dag_id=owner.dag_id, run_ids=[owner.run_id], states=ALIVE))


def _hour(context: Context) -> Hour:
    try:
        return Hour.of_key(context["dag_run"].partition_key)
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
