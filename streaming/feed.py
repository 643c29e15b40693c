"""A venue's feed over WebSocket, from connection to connection; what is said on it is the venue's own matter."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime
from typing import Generic, TypeVar

from include.contracts.topics import Topic
from streaming.backoff import Backoff
from streaming.connection import LOST, Watch, Work, connected, pause_after, wait_for_room
from streaming.delivery import Consignment, Delivery
from streaming.drift import Drift
from streaming.events import Event, Kind
from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.product import Followed
from streaming.records import Headers, Origin, Record
from streaming.websocket import BatchConnection

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Followed)


class VenueFeed(ABC, Generic[P]):
    """The life of one feed. A venue says what it asks for, what it makes of frames, and which silence is an end.

    Args:
        url: Where the venue listens.
        is_remote: Whether a proxy of the environment is to be used.
        products: The products to follow, by the venue's names.
        origin: What the records say of where they come from.
        delivery: Where the records go.
        metrics: Where frames are counted.
        stop: When set, the connection is closed, and what it still gives is taken.
        drift: Where it is noted how messages differ from those that we know.
        clock: Nanoseconds since 1970.
    """

    known_fields: Mapping[str, frozenset[str]]
    """The fields of each type of message."""
    dead_letters: Topic
    """Where what cannot be read goes."""

    def __init__(
        self,
        url: str,
        products: Mapping[str, P],
        origin: Origin,
        delivery: Delivery,
        metrics: Metrics,
        stop: asyncio.Event,
        *,
        is_remote: bool,
        drift: Drift | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._url = url
        self._is_remote = is_remote
        self._products = products
        self._origin = origin
        self._delivery = delivery
        self._metrics = metrics
        self._stop = stop
        self._drift = Drift(self.known_fields) if drift is None else drift
        self._clock = clock
        self._pauses = Backoff(0.5, 30.0)
        self._watch = self._make_watch()
        self._refused: set[str] = set()
        self._unknown_types: set[str] = set()

    async def follow(self) -> None:
        """Follow the feed until told to stop: connect, subscribe, take frames, lose the connection, wait, again.

        Raises:
            RefusalError: If the venue accepts none of the products.
        """
        while not self._stop.is_set():
            try:
                async with self._connected() as connection, self._watch.over():
                    while True:
                        frames, received_at = await connection.receive(), self._clock() // 1_000
                        self._drift.now_is(received_at)
                        for what in self._take(frames, received_at):
                            if not self._delivery.offer(what):
                                await wait_for_room(what, self._delivery, self._watch)
            except LOST as lost:
                if not self._stop.is_set():
                    await self._wait_before_reconnect(lost)

    @abstractmethod
    def _make_watch(self) -> Watch:
        """Return what notices that the venue has fallen silent."""

    @abstractmethod
    def _begin(self) -> tuple[Work, ...]:
        """Forget what belonged to the last connection; return what is to be done beside receiving: to subscribe."""

    @abstractmethod
    def _take(self, frames: list[bytes], received_at: int) -> Iterator[Record | Consignment]:
        """Enter the frames of one read in the books; give what is to be sent.

        Args:
            received_at: Microseconds since 1970.
        """

    @abstractmethod
    def _expect_no_more(self, reason: str) -> None:
        """Take note that the connection is lost, and why."""

    @abstractmethod
    def _none_is_left(self, names: str, words: str) -> str:
        """Return the sentence for an operator of whose products the venue has refused each, in so many words."""

    def _connected(self) -> AbstractAsyncContextManager[BatchConnection]:
        self._refused.clear()
        return connected(self._url, self._stop, self._metrics, *self._begin(), is_remote=self._is_remote)

    async def _wait_before_reconnect(self, lost: Exception) -> None:
        """Say what happened, expect nothing more from the lost connection, and wait a while, or until told to stop."""
        reason = f"{type(lost).__name__}: {lost}"
        pause = pause_after(lost, self._pauses, self._clock() / 1e9)
        log.warning("the feed is lost", extra={"reason": reason, "retry_in": round(pause, 3)})
        self._metrics.reconnects.inc()
        self._expect_no_more(reason)
        await self._delivery.send(self._event("reconnect", reason))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stop.wait()

    def _refusal(self, name: str | None, words: str) -> Record:
        """Note which product the venue refuses, and return the event that tells it; the others go on.

        Args:
            name: None if it is not known which.
            words: The venue's own.

        Raises:
            RefusalError: If none is left.
        """
        log.error("the venue refuses", extra={"reason": words, "product_id": name})
        if name is not None and name not in self._refused:
            self._refused.add(name)
            self._metrics.refused_products.inc()
            if self._refused.issuperset(self._products):
                raise RefusalError(self._none_is_left(", ".join(self._products), words))
        return self._event("subscription_refused", words, name)

    def _dead_letter(self, raw: bytes, reason: str, headers: Headers) -> Record:
        self._metrics.dead_letters.inc()
        self._drift.refused(reason, self._origin.market)
        log.warning("frame cannot be read", extra={"reason": reason, "bytes": len(raw)})
        return self._origin.dead_letter(self.dead_letters.name, raw, reason, headers)

    def _ignore(self, unknown_type: str) -> None:
        """Count a message of a type that we do not know; tell each type once."""
        self._metrics.frames["unknown"] += 1
        if unknown_type not in self._unknown_types:
            self._unknown_types.add(unknown_type)
            log.warning("messages of an unknown type are ignored", extra={"type": unknown_type})

    def _event(self, kind: Kind, reason: str, product_id: str | None = None) -> Record:
        at = datetime.fromtimestamp(self._clock() / 1e9, UTC)
        return Event(
            kind=kind, venue=self._origin.venue, market=self._origin.market, product_id=product_id, reason=reason
        ).record(at)
