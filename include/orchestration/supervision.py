"""The tasks that keep the ingestion as people want it: brought up, watched, mended, reported."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

from airflow.sdk import Asset, BaseOperator, Context, Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.types import RuntimeTaskInstanceProtocol

from include import scale
from include.orchestration import alerts
from include.orchestration.fencing import Charge, Fence, FencedOffError, OwnedElsewhereError
from include.orchestration.ingestion import (
    CHECKS,
    SERVICES,
    WRITER,
    GivenUp,
    Restarts,
    Wanted,
    drift_in_words,
    drift_was_told,
)
from include.orchestration.triggers import ALIVE, HealthTrigger
from include.settings import Settings
from include.supervisord import State, Supervisord

log = logging.getLogger(__name__)

WANTED = "ingestion_wanted"
"""The Airflow Variable with what people want of the services; changed by `streaming_control`."""
RESTARTS = "ingestion_restarts"
"""The Airflow Variable with when each service was restarted; changed by the supervisor."""
GIVEN_UP = "ingestion_given_up"
"""The Airflow Variable with the services that people were told to see to; changed by the supervisor."""
HEALTH = Asset("ingestion_health", uri="lake://ingestion/health")


def fence(settings: Settings) -> Fence:
    """Return what lets only one supervisor act."""
    return Fence(settings.state_dir / "leases" / "ingestion.json")


def wanted() -> Wanted:
    """Read what people want of the services."""
    return Wanted.of(Variable.get(WANTED, default={}, deserialize_json=True))


@task
def bring_up() -> dict[str, Any]:
    """Take charge, and bring every service to the state that is wanted of it; the result is the charge.

    Raises:
        AirflowFailException: If another supervisor is in charge.
    """
    context, settings = get_current_context(), Settings.load()
    ti = context["ti"]
    try:
        charge = fence(settings).take(f"{ti.dag_id} {ti.run_id}", has_ended=lambda owner: _has_ended(ti, owner))
    except OwnedElsewhereError as error:
        raise AirflowFailException(str(error)) from error
    supervisord = Supervisord.of(settings)
    with _acting(settings, charge):
        # Read while nobody can choose otherwise.
        wishes = wanted()
        given_up = {name for name in SERVICES if _restarts(name, wishes).is_exhausted(datetime.now(UTC))}
        scale_writer(supervisord, settings, wishes)
        for name in _known(supervisord, SERVICES):
            if name in wishes.paused:
                if supervisord.process(name).is_up:
                    log.info("%s is to stand still: stopping it", name)
                    supervisord.stop(name)
            elif name in given_up:
                log.error("%s is left to a person: see the alert; streaming_control restarts it", name)
            elif not supervisord.process(name).is_up:
                log.warning("%s does not run: starting it", name)
                supervisord.launch(name)
    return {"owner": charge.owner, "number": charge.number}


def scale_writer(supervisord: Supervisord, settings: Settings, wishes: Wanted) -> None:
    """Have the Bronze writer begin its next start with as many cores as are wanted; stop it if it has others.

    Stopped first: after a kill in between, whoever finds it so does the rest.
    """
    if (before := scale.cores(settings.state_dir)) != wishes.writer_cores:
        log.info("%s had %d cores and gets %d", WRITER, before, wishes.writer_cores)
        supervisord.stop(WRITER)
        scale.keep(settings.state_dir, wishes.writer_cores)


class WatchIngestion(BaseOperator):
    """Watches one side of the ingestion for a round, or until something is wrong; the result is the last reading.

    Args:
        check: A name of `include.orchestration.ingestion.CHECKS`.
        siblings: The tasks that watch the other sides.
    """

    ui_color = "#e6f1f2"

    def __init__(self, *, check: str, siblings: list[str], **kwargs: Any) -> None:  # noqa: ANN401 (Airflow's own arguments)
        super().__init__(**kwargs)
        self.check, self.siblings = check, siblings

    def execute(self, context: Context) -> NoReturn:
        """Let the triggerer watch."""
        began = context["dag_run"].start_date
        assert began is not None
        until = began + Settings.load().supervision_round
        ti = context["ti"]
        trigger = HealthTrigger(self.check, until.isoformat(), ti.dag_id, ti.run_id, self.siblings)
        self.defer(trigger=trigger, method_name="seen")

    def seen(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on with what was seen."""
        for service, reason in event["troubles"]:
            self.log.error("%s %s", service, reason)
        return event


@task(outlets=[HEALTH])
def report() -> dict[str, Any]:
    """Tell how the ingestion fares: lag, rate and the last trade of each product, in the asset's newest event."""
    context = get_current_context()
    facts: dict[str, Any] = {"paused": sorted(wanted().paused)}
    for reading in _readings(context["ti"]).values():
        facts |= reading["facts"]
    context["outlet_events"][HEALTH].extra = facts
    return facts


@task
def tell_drift() -> list[str]:
    """Alert of fields that are new in a venue's messages, or of another type; the result is what was said."""
    context = get_current_context()
    facts = _readings(context["ti"])["drift"]["facts"]
    said = [drift_in_words(drift) for drift in facts.get("drift", ())]
    if said:
        # One alert for all: a venue that changes its messages changes more than one field.
        alerts.warn(context, "; ".join(said))
        drift_was_told(Settings.load(), facts["drift_told_through"])
    return said


@task
def mend(charge: dict[str, Any]) -> list[str]:
    """Restart what is in trouble, later each time, and leave it to a person when that does not help.

    A producer that starts again first fetches what it missed; so a restart is also the repair of its gap. That a
    service is given up, and that it is well again, is told before it is noted: a kill in between tells it a second
    time, and the other way round nobody would hear of it.

    Returns:
        The services that were restarted.
    """
    context, settings = get_current_context(), Settings.load()
    now, wishes, given_up = datetime.now(UTC), wanted(), _given_up()
    supervisord = Supervisord.of(settings)
    readings = _readings(context["ti"]).values()
    troubles, restarted = _troubles(readings), []
    for service, reasons in troubles.items():
        because = "; ".join(dict.fromkeys(reasons))
        restarts = _restarts(service, wishes)
        if service in wishes.paused:
            log.info("%s is paused, so this is no trouble: %s", service, because)
        elif now - supervisord.process(service).started < settings.start_patience:
            log.warning("%s was just started and is left alone: %s", service, because)
        elif restarts.is_exhausted(now):
            summary = f"{service} is given up after {restarts.limit} restarts within {restarts.window}: {because}"
            log.error(summary)
            if not given_up.is_known(service, wishes.forgiven.get(service)):
                alerts.warn(context, f"{summary}; mend the cause, then restart it with streaming_control")
                given_up = _note_given_up(given_up.plus(service, now))
        elif now < (due := restarts.due(now)):
            log.warning("%s is not restarted before %s: %s", service, f"{due:%H:%M:%SZ}", because)
        else:
            _note_restart(service, restarts, now)
            with _acting(settings, Charge(**charge)):
                supervisord.stop(service)
                supervisord.launch(service)
            restarted.append(service)
            alerts.warn(context, f"{service} was restarted: {because}")
    if all(reading["facts"] for reading in readings):
        _tell_recoveries(context, supervisord, given_up, besides=troubles)
    return restarted


def _tell_recoveries(context: Context, supervisord: Supervisord, given_up: GivenUp, *, besides: Iterable[str]) -> None:
    """Tell which services that were given up ran through a whole round without trouble: one cut short says nothing."""
    began = context["dag_run"].start_date
    assert began is not None
    if datetime.now(UTC) - began < Settings.load().supervision_round:
        return
    for service in sorted(set(_known(supervisord, given_up.told)) - set(besides)):
        process = supervisord.process(service)
        if process.state is State.RUNNING and process.started <= began:
            alerts.warn(
                context, f"{service} is well again; it was given up at {given_up.told[service]:%Y-%m-%dT%H:%MZ}"
            )
            given_up = _note_given_up(given_up.minus(service))


def _readings(ti: RuntimeTaskInstanceProtocol) -> dict[str, dict[str, Any]]:
    return {check: ti.xcom_pull(task_ids=f"watch_{check}") for check in CHECKS}


def _troubles(readings: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for reading in readings:
        for service, reason in reading["troubles"]:
            found.setdefault(service, []).append(reason)
    return found


def _restarts(service: str, wishes: Wanted) -> Restarts:
    stored = Variable.get(RESTARTS, default={}, deserialize_json=True).get(service, ())
    forgiven = wishes.forgiven.get(service)
    moments = (datetime.fromisoformat(moment) for moment in stored)
    return Restarts(tuple(moment for moment in moments if forgiven is None or moment > forgiven))


def _note_restart(service: str, restarts: Restarts, now: datetime) -> None:
    """Note a restart before it is made: one that was noted and not made only makes the next one later."""
    noted = Variable.get(RESTARTS, default={}, deserialize_json=True)
    noted[service] = [moment.isoformat() for moment in (*restarts.recent(now), now)]
    Variable.set(RESTARTS, noted, serialize_json=True)


def _given_up() -> GivenUp:
    return GivenUp.of(Variable.get(GIVEN_UP, default={}, deserialize_json=True))


def _note_given_up(given_up: GivenUp) -> GivenUp:
    Variable.set(GIVEN_UP, given_up.as_json(), serialize_json=True)
    return given_up


def _known(supervisord: Supervisord, names: Iterable[str]) -> list[str]:
    there = {process.name for process in supervisord.processes()}
    return [name for name in names if name in there]


@contextmanager
def _acting(settings: Settings, charge: Charge) -> Iterator[None]:
    try:
        with fence(settings).acting(charge):
            yield
    except FencedOffError as error:
        raise AirflowFailException(str(error)) from error


def _has_ended(ti: RuntimeTaskInstanceProtocol, owner: str) -> bool:
    dag_id, _, run_id = owner.partition(" ")
    return not ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=ALIVE)
