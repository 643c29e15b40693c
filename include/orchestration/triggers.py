"""What the triggerer runs while a task waits. Importable by triggerer and workers; never in a DAG file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
from airflow.sdk import Variable
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from include.orchestration import ingestion, rebuilding
from include.orchestration import turn as turns
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.evidence import HourNotCoveredError, OffsetsAsText, behind, hour_watch, of_text
from include.orchestration.hours import Hour
from include.orchestration.nessie import Nessie
from include.settings import Settings

POLL_S = 2.0
HEALTH_POLL_S = 5.0
OVER = ["success", "failed"]
"""The states of a task that has ended by itself."""
ALIVE = ["queued", "running"]
"""The states of an Airflow run that may still act."""


class HourTrigger(BaseTrigger):
    """Waits until an hour is wholly in Bronze, and says once when it has waited for long.

    Args:
        hour: The partition key.
        waiting_since: ISO 8601, UTC; when the task began to wait.
        has_warned: Whether it was already said that the wait is long.
        ends: Where the topics ended when the task saw that the hour is closed; None if it is not.
    """

    def __init__(self, hour: str, waiting_since: str, has_warned: bool, ends: OffsetsAsText | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hour, self.waiting_since, self.has_warned, self.ends = hour, waiting_since, has_warned, ends

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        arguments = {
            "hour": self.hour,
            "waiting_since": self.waiting_since,
            "has_warned": self.has_warned,
            "ends": self.ends,
        }
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: `ready` with the evidence, `stalled` with what it waits for, or `uncovered`."""
        settings = Settings.load()
        hour = Hour.of_key(self.hour)
        # A silent product is let through by the exchange's clock; this is for when nothing moves at all.
        patience_ends = max(datetime.fromisoformat(self.waiting_since), hour.end) + settings.silence_limit
        said = ""
        ends = of_text(self.ends) if self.ends else None
        with hour_watch(settings.kafka.address, settings.followed, hour, settings.silence_limit, ends) as watch:
            while True:
                try:
                    evidence = await asyncio.to_thread(watch.look)
                    status = watch.status
                except HourNotCoveredError as error:
                    yield TriggerEvent({"kind": "uncovered", "detail": str(error)})
                    return
                except KafkaException as error:
                    evidence, status = None, f"Kafka does not answer: {error}"
                if evidence is not None:
                    yield TriggerEvent({"kind": "ready", "evidence": evidence.as_json()})
                    return
                if status != said:
                    self.log.info(status)
                    said = status
                if not self.has_warned and datetime.now(UTC) > patience_ends:
                    yield TriggerEvent({"kind": "stalled", "detail": status})
                    return
                await asyncio.sleep(POLL_S)


class TurnTrigger(BaseTrigger):
    """Waits until a turn has ended: given back, or left behind by a run that is over.

    Args:
        turn_hash: The turn that is waited for.
        dag_id: Its owner's DAG.
        run_id: Its owner's run.
    """

    def __init__(self, turn_hash: str, dag_id: str, run_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.turn_hash, self.dag_id, self.run_id = turn_hash, dag_id, run_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        arguments = {"turn_hash": self.turn_hash, "dag_id": self.dag_id, "run_id": self.run_id}
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when it is worth claiming the turn again."""
        self.log.info("waiting for the turn, which %s %s has", self.dag_id, self.run_id)
        with Nessie(Settings.load().nessie_api) as nessie:
            while True:
                try:
                    turn = await asyncio.to_thread(turns.current, nessie)
                except httpx.TransportError as error:
                    self.log.warning("Nessie does not answer: %s", error)
                else:
                    if turn is None or turn.hash != self.turn_hash or not await is_alive(self.dag_id, self.run_id):
                        yield TriggerEvent({"kind": "ended"})
                        return
                await asyncio.sleep(POLL_S)


class HealthTrigger(BaseTrigger):
    """Looks at the ingestion until there is trouble or news, the round is over, or a sibling has found something.

    Args:
        check: Which check of `include.orchestration.ingestion`.
        until: ISO 8601, UTC; when the round is over.
        dag_id: Of the run whose round it is.
        run_id: The run.
        siblings: Its tasks that look at other things; when one of them has ended, so does this.
    """

    def __init__(self, check: str, until: str, dag_id: str, run_id: str, siblings: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.check, self.until, self.dag_id, self.run_id, self.siblings = check, until, dag_id, run_id, siblings

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        arguments = {
            "check": self.check,
            "until": self.until,
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "siblings": self.siblings,
        }
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the last reading."""
        settings, until = Settings.load(), datetime.fromisoformat(self.until)
        check = ingestion.check(self.check, settings)
        reading, said = ingestion.Reading({}), ""
        while datetime.now(UTC) < until and not (reading.troubles or reading.has_news):
            if await self._has_ended(self.siblings):
                break
            try:
                reading = await asyncio.to_thread(check.look)
            except Exception as error:
                # A broker or catalog that is away is no fault of what is watched, and comes back by itself.
                if (words := f"cannot look at {self.check}: {error}") != said:
                    self.log.warning(words)
                    said = words
            await asyncio.sleep(HEALTH_POLL_S)
        yield TriggerEvent(reading.as_json())

    async def _has_ended(self, tasks: list[str]) -> bool:
        if not tasks:
            return False
        count = await sync_to_async(RuntimeTaskInstance.get_ti_count)(
            dag_id=self.dag_id, run_ids=[self.run_id], task_ids=tasks, states=OVER
        )
        return bool(count)


class SettledTrigger(BaseTrigger):
    """Waits until Bronze has the records of some topics before given offsets.

    Args:
        ends: By topic and partition, the latter as text: JSON has no other keys.
    """

    def __init__(self, ends: dict[str, dict[str, int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ends = ends

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        return f"{__name__}.{type(self).__name__}", {"ends": self.ends}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when all of them are committed."""
        admin = AdminClient({"bootstrap.servers": Settings.load().kafka.address, "log_level": 0})
        ends = {topic: {int(part): end for part, end in parts.items()} for topic, parts in self.ends.items()}
        said = ""
        while True:
            try:
                status = await asyncio.to_thread(behind, admin, ends)
            except KafkaException as error:
                status = f"Kafka does not answer: {error}"
            if not status:
                yield TriggerEvent({"kind": "settled"})
                return
            if status != said:
                self.log.info("Bronze still has to commit %s", status)
                said = status
            await asyncio.sleep(POLL_S)


class DrainTrigger(BaseTrigger):
    """Waits until Bronze has every record of its topics, or a producer is to send more.

    Args:
        wanted: The Airflow Variable with what people want of the services.
    """

    def __init__(self, wanted: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wanted = wanted

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        return f"{__name__}.{type(self).__name__}", {"wanted": self.wanted}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: `drained` when nothing waits, or `overtaken` by another choice."""
        admin, said = AdminClient({"bootstrap.servers": Settings.load().kafka.address, "log_level": 0}), ""
        while True:
            try:
                left = await asyncio.to_thread(ingestion.backlogs, admin)
                status = ", ".join(f"{one.waiting} records of {topic}" for topic, one in left.items() if one.waiting)
            except KafkaException as error:
                status = f"Kafka does not answer: {error}"
            if not status:
                yield TriggerEvent({"kind": "drained"})
                return
            if not await sync_to_async(self._is_still_wanted)():
                yield TriggerEvent({"kind": "overtaken"})
                return
            if status != said:
                self.log.info("still to be taken: %s", status)
                said = status
            await asyncio.sleep(POLL_S)

    def _is_still_wanted(self) -> bool:
        wishes = Variable.get(self.wanted, default=None, deserialize_json=True)
        # Noted before this wait began, so it is there: without an answer we know nothing else.
        return wishes is None or ingestion.Wanted.of(wishes).is_drained


class RebuildTrigger(BaseTrigger):
    """Waits until there is something to do for a request to build hours again.

    Args:
        request: As `Request.as_json` gives it.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.request = request

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        return f"{__name__}.{type(self).__name__}", {"request": self.request}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the task should look again."""
        said = ""
        while True:
            try:
                step = await asyncio.to_thread(self._look)
            except httpx.HTTPError as error:
                status = f"Airflow's API does not answer: {error}"
            else:
                if not isinstance(step, rebuilding.Wait):
                    yield TriggerEvent({"kind": "ready"})
                    return
                status = f"waiting for {step.why}"
            if status != said:
                self.log.info(status)
                said = status
            await asyncio.sleep(HEALTH_POLL_S)

    def _look(self) -> rebuilding.Step:
        with AirflowApi.of(Settings.load()) as airflow:
            return rebuilding.look(airflow, rebuilding.Request.of(self.request))


async def is_alive(dag_id: str, run_id: str) -> bool:
    """Whether an Airflow run may still act; one that was deleted may not."""
    count = await sync_to_async(RuntimeTaskInstance.get_dr_count)(dag_id=dag_id, run_ids=[run_id], states=ALIVE)
    return bool(count)
