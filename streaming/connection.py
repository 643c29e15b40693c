"""A WebSocket connection to a venue, from its opening to its end; what is said on it is the venue's own matter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from streaming.backoff import Backoff, retry_after
from streaming.delivery import Consignment, Delivery
from streaming.metrics import Metrics
from streaming.records import Record
from streaming.websocket import BatchConnection

log = logging.getLogger(__name__)

LOST = (OSError, ConnectionClosed, InvalidHandshake)
"""Everything that a connection, or the attempt at one, may end in; a time-out is an OSError."""
OPEN_SECONDS = 8.0
CLOSE_SECONDS = 3.0
LARGEST_FRAME_BYTES = 16 * 2**20
FRAMES_AHEAD = 1024
"""Frames read from the socket and not yet taken; beyond, the socket is not read."""

Work = Callable[[BatchConnection], Coroutine[None, None, None]]


@asynccontextmanager
async def connected(
    url: str, stop: asyncio.Event, metrics: Metrics, *work: Work, is_remote: bool
) -> AsyncIterator[BatchConnection]:
    """Connect; at the end, leave no connection behind.

    Args:
        stop: When set, the connection is closed; what it has given by then can still be received.
        work: What is to be done beside receiving, for as long as the connection lasts.
        is_remote: Whether a proxy of the environment is to be used.
    """
    async with connect(
        url,
        compression=None,
        open_timeout=OPEN_SECONDS,
        close_timeout=CLOSE_SECONDS,
        max_size=LARGEST_FRAME_BYTES,
        max_queue=FRAMES_AHEAD,
        proxy=True if is_remote else None,
        create_connection=BatchConnection,
    ) as connection:
        assert isinstance(connection, BatchConnection)
        log.info("connected", extra={"url": url})
        tasks = [asyncio.create_task(do(connection)) for do in work]
        tasks.append(asyncio.create_task(_close(connection, stop)))
        metrics.connected.inc()
        try:
            yield connection
        except TimeoutError:
            connection.transport.abort()  # nobody is there to shake hands with
            raise
        finally:
            metrics.connected.dec()
            for task in tasks:
                task.cancel()


class Watch(Protocol):
    """What notices that a venue has fallen silent."""

    def over(self) -> AbstractAsyncContextManager[None]:
        """Watch one connection.

        Raises:
            TimeoutError: If the venue has fallen silent on it.
        """

    def suspended(self) -> AbstractContextManager[None]:
        """Do not count the time in which we ourselves do not read."""


async def wait_for_room(what: Record | Consignment, delivery: Delivery, watch: Watch) -> None:
    """Send what Kafka's queue has no room for; nothing is read from the venue until it has."""
    log.warning("the queue to Kafka is full: the feed waits", extra={"records": delivery.outstanding})
    with watch.suspended():
        await delivery.send(what)


def pause_after(lost: Exception, pauses: Backoff, now: float) -> float:
    """Return the seconds to wait before the next attempt: at least what the venue asked for.

    Args:
        now: Seconds since 1970.
    """
    pause = pauses.next()
    if isinstance(lost, InvalidStatus):
        return max(pause, retry_after(lost.response.headers.get("Retry-After"), now))
    return pause


async def _close(connection: BatchConnection, stop: asyncio.Event) -> None:
    await stop.wait()
    await connection.close()
