"""The life of a producer, whatever its venue: one holder, metrics, Kafka, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from include.contracts.topics import Header, Topic
from include.lease import Lease, LeaseTakenError
from include.logs import log_as_json
from include.settings import Settings
from streaming import spool
from streaming.delivery import Delivery, DeliveryBrokenError
from streaming.drift import Drift
from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.records import Origin, Record

log = logging.getLogger(__name__)

STOPPERS = (RefusalError, LeaseTakenError, DeliveryBrokenError)
"""Errors whose message is for the operator, who needs no traceback."""
DRAIN_SECONDS = 11.0
"""How long Kafka has, at the end, to acknowledge what was sent."""
STOP_SECONDS = 14.0
"""So long after the stop the end is made without Kafka: what it has not acknowledged is spooled."""
LAST_WORDS_SECONDS = 2.0
"""How long it then has for the last progress."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a venue's producer works with.

    Args:
        stop: Set when the process is told to stop.
    """

    settings: Settings
    delivery: Delivery
    metrics: Metrics
    stop: asyncio.Event

    def stop_on_signals(self) -> None:
        """From now on SIGTERM and SIGINT mean: take nothing more, and end well. Until here they end the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop.set)

    async def bury(
        self,
        raw: bytes,
        reason: str,
        topic: Topic,
        origin: Origin,
        drift: Drift | None = None,
        product_id: str | None = None,
    ) -> None:
        """Send a part of a venue's reply that cannot be read to its dead letters.

        Args:
            topic: Theirs.
            drift: Where it is noted if a field has another type.
            product_id: The product that was asked for, where the bytes do not say it: who reads them later has to know.
        """
        self.metrics.dead_letters.inc()
        log.warning("part of a reply cannot be read", extra={"product_id": product_id, "reason": reason})
        if drift is not None:
            drift.refused(reason, origin.market)
        headers = origin.headers("rest", time.time_ns() // 1_000)
        if product_id is not None:
            headers.append((Header.PRODUCT_ID.value, product_id.encode()))
        await self.delivery.send(origin.dead_letter(topic.name, raw, reason, headers))


@asynccontextmanager
async def service(
    settings: Settings, venue: str, topics: Iterable[Topic], metrics_setting: str
) -> AsyncIterator[Service]:
    """Run a producer's surroundings, from its lease to the spooling of what Kafka did not take.

    Args:
        topics: Those that it sends to.
        metrics_setting: The name of the setting that says where its metrics are served.

    Raises:
        LeaseTakenError: If another producer of the venue runs.
        RefusalError: If a port is taken, or Kafka or a topic is not there.
    """
    name = f"producer-{venue}"
    unsent = settings.state_dir / "spool" / f"{name}.ndjson"
    refused = unsent.with_suffix(".refused.ndjson")
    stop, metrics = asyncio.Event(), Metrics(venue)
    with Lease(settings.state_dir, name):
        metrics.serve(settings.listening(getattr(settings, metrics_setting)), f"LAKE_{metrics_setting.upper()}")
        connect = partial(
            Delivery,
            settings.kafka.address,
            name,
            metrics,
            refused=lambda record, why: _keep_refused(refused, record, why),
            patience=settings.kafka_patience,
        )
        names = [topic.name for topic in topics]
        if records := spool.load(unsent):
            await _send_unsent(records, connect(is_one_by_one=True), names)
            unsent.unlink()
        delivery = connect()
        await delivery.check(names)
        try:
            async with asyncio.TaskGroup() as tasks:
                serving = [tasks.create_task(delivery.run()), tasks.create_task(_give_up_in_the_end(delivery, stop))]
                yield Service(settings, delivery, metrics, stop)
                await delivery.drain(LAST_WORDS_SECONDS)
                for task in serving:
                    task.cancel()
        finally:
            delivery.give_up()
            _keep_unsent(unsent, delivery.undelivered)
            log.info("stopped")


@asynccontextmanager
async def errand(settings: Settings, venue: str, topics: Iterable[Topic]) -> AsyncIterator[Service]:
    """Run the surroundings of a short piece of work beside a venue's producer: without its lease and its metrics' port.

    Raises:
        RefusalError: If Kafka or a topic is not there, or Kafka has not acknowledged everything in the end.
    """
    name, metrics = f"errand-{venue}", Metrics(venue)
    refused = settings.state_dir / "spool" / f"{name}.refused.ndjson"
    delivery = Delivery(
        settings.kafka.address,
        name,
        metrics,
        refused=lambda record, why: _keep_refused(refused, record, why),
        patience=settings.kafka_patience,
    )
    await delivery.check(topic.name for topic in topics)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(delivery.run())
        yield Service(settings, delivery, metrics, asyncio.Event())
        if not await delivery.drain(DRAIN_SECONDS):
            raise RefusalError(f"Kafka did not acknowledge {delivery.outstanding} records: do it again")
        serving.cancel()


def run(produce: Callable[[Settings], Coroutine[None, None, None]]) -> None:
    """Be a producer's process: exit with 0 when told to stop, else with one sentence that says what to do."""
    log_as_json()
    logging.getLogger("websockets").setLevel(logging.WARNING)  # the feed itself says what happens to it
    collect_garbage_rarely()
    sentence: str | None = None
    try:
        asyncio.run(produce(Settings.load()))
    except ValidationError as error:
        wrong = error.errors()[0]
        sentence = f"the setting LAKE_{'__'.join(map(str, wrong['loc'])).upper()} is wrong: {wrong['msg']}"
    except STOPPERS as error:
        sentence = str(error)
    except BaseExceptionGroup as group:
        if (told := group.subgroup(STOPPERS)) is None:
            raise
        sentence = str(_first(told))
    if sentence is not None:
        sys.exit(sentence)


def collect_garbage_rarely() -> None:
    """Look for cycles seldom: records in flight are many, have none, and took a seventh of the time to go through."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _give_up_in_the_end(delivery: Delivery, stop: asyncio.Event) -> None:
    await stop.wait()
    log.info("stopping")
    await asyncio.sleep(STOP_SECONDS)
    delivery.give_up()


async def _send_unsent(records: list[Record], delivery: Delivery, topics: Iterable[str]) -> None:
    """Send what the last process could not; it may have ended for one of these."""
    await delivery.check(topics)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(delivery.run())
        for record in records:
            await delivery.send(record)
        await delivery.drain(math.inf)
        serving.cancel()
    log.info("what the last process could not send is sent", extra={"records": len(records)})


def _keep_unsent(file: Path, records: list[Record]) -> None:
    worth = [record for record in records if not record.is_superseded_if_lost]
    if not worth:
        return
    try:
        spool.save(file, worth)
    except OSError as error:
        log.critical("records are lost: they can be written nowhere", extra={"records": len(worth), "why": str(error)})
        raise
    log.warning("Kafka did not take these; they go out at the next start", extra={"records": len(worth), "file": file})


def _keep_refused(file: Path, record: Record, reason: str) -> None:
    spool.save(file, [record])
    log.error(
        "Kafka refuses a record for good; it is kept",
        extra={"topic": record.topic, "key": record.key, "bytes": len(record.value), "reason": reason, "file": file},
    )
