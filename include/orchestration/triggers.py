"""What the triggerer runs while a task waits. Importable by triggerer and workers; never in a DAG file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from confluent_kafka import KafkaException

from include.orchestration import turn as turns
from include.orchestration.evidence import HourNotCoveredError, hour_watch
from include.orchestration.hours import Hour
from include.orchestration.nessie import Nessie
from include.settings import Settings

POLL_S = 2.0
ALIVE = ["queued", "running"]
"""The states of an Airflow run that may still act."""


class HourTrigger(BaseTrigger):
    """Waits until an hour is wholly in Bronze, and says once when it has waited for long.

    Args:
        hour: The partition key.
        waiting_since: ISO 8601, UTC; when the task began to wait.
        has_warned: Whether it was already said that the wait is long.
    """

    def __init__(self, hour: str, waiting_since: str, has_warned: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hour, self.waiting_since, self.has_warned = hour, waiting_since, has_warned

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        arguments = {"hour": self.hour, "waiting_since": self.waiting_since, "has_warned": self.has_warned}
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: `ready` with the evidence, `stalled` with what it waits for, or `uncovered`."""
        settings = Settings.load()
        hour = Hour.of_key(self.hour)
        # A silent product is let through by the exchange's clock; this is for when nothing moves at all.
        patience_ends = max(datetime.fromisoformat(self.waiting_since), hour.end) + settings.silence_limit
        said = ""
        with hour_watch(settings.kafka.address, settings.followed, hour, settings.silence_limit) as watch:
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


async def is_alive(dag_id: str, run_id: str) -> bool:
    """Whether an Airflow run may still act; one that was deleted may not."""
    count = await sync_to_async(RuntimeTaskInstance.get_dr_count)(dag_id=dag_id, run_ids=[run_id], states=ALIVE)
    return bool(count)
