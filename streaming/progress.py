"""How far a product is closed: the promise that the hours are built on.

"Closed through T" says that a message with exchange time T or later has come, and that every earlier trade of the
product is acknowledged by the broker, or known not to be had. It is published to the topic `ingestion.progress`, key
`venue/market/product_id`, as JSON:

    {"venue": "coinbase", "market": "spot", "product_id": "BTC-USD", "covered_from": "2026-11-20T09:00:00.000000Z",
     "closed_through": "2026-11-20T12:00:00.251063Z", "last_trade_id": 910941280}

History that is fetched later, from before the product was followed, is told under a key of its own that ends in
`/past`: it vouches for the hours between its two times, and the producer for those that come after.

The clock is the exchange's alone, and closed_through never goes back. Pure: no clock, network or topic is known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

STRETCH = timedelta(seconds=1)
"""The exchange time after which a stretch is sealed; a heartbeat, a gap and a full hour seal it earlier."""


class ProgressRecord(msgspec.Struct, frozen=True):
    """What is published about one product."""

    venue: str
    market: str
    product_id: str
    covered_from: datetime
    closed_through: datetime
    last_trade_id: int | None

    def encode(self) -> bytes:
        """Return the JSON, times in microseconds."""
        return msgspec.json.encode(
            {
                **msgspec.structs.asdict(self),
                "covered_from": iso(self.covered_from),
                "closed_through": iso(self.closed_through),
            }
        )


def iso(moment: datetime) -> str:
    """Return a UTC time as text of one width, so that texts sort as times do: `2026-11-20T09:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def hour_of(moment: datetime) -> datetime:
    """Return the start of the hour that a moment is in."""
    return moment.replace(minute=0, second=0, microsecond=0)


class Stretch:
    """A run of messages on one connection, and how much of it is not yet settled.

    Debts are trades without an acknowledgement and gaps without an end. One counter per stretch, and not one object per
    trade, keeps the books of a hundred thousand trades in flight as cheap as those of ten.
    """

    __slots__ = ("_when_settled", "is_sealed", "last_trade_id", "owed", "time")

    def __init__(self, when_settled: Callable[[], None]) -> None:
        self.owed = 0
        self.time: datetime | None = None
        self.last_trade_id: int | None = None
        self.is_sealed = False
        self._when_settled = when_settled

    def settle(self, debts: int = 1) -> None:
        """Pay debts: the broker acknowledged so many trades, or a gap came to its end."""
        self.owed -= debts
        if self.is_sealed and not self.owed:
            self._when_settled()


class Progress:
    """How far one product is closed.

    Args:
        covered_from: The exchange time from which the product is followed.
        closed_through: What was published before this start; None for a product that is new.
        last_trade_id: Likewise.
        hour_closed: Called when closed_through passes the end of an hour.
    """

    def __init__(
        self,
        covered_from: datetime,
        closed_through: datetime | None = None,
        last_trade_id: int | None = None,
        *,
        hour_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.covered_from = covered_from
        self.closed_through = closed_through
        self.last_trade_id = last_trade_id
        self.last_time: datetime | None = None
        """The latest exchange time of a message."""
        self._hour_closed = hour_closed
        self._current = Stretch(self.advance)
        self._stretches = deque([self._current])
        self._seal_at = datetime.min.replace(tzinfo=UTC)

    def owe(self) -> Stretch:
        """Take on one debt; return the stretch that is to be settled when it is paid."""
        self._current.owed += 1
        return self._current

    def mark(self, time: datetime, last_trade_id: int | None) -> None:
        """Take note of a message: once all debts so far are paid, the product is closed through its time.

        Args:
            time: The message's exchange time.
            last_trade_id: The highest id known to exist; it and all below are seen, or are debts.
        """
        stretch = self._current
        if self.last_time is None or time > self.last_time:
            self.last_time = stretch.time = time
        elif stretch.time is None or time > stretch.time:
            stretch.time = time
        stretch.last_trade_id = last_trade_id
        if time >= self._seal_at:
            self._seal_at = min(time + STRETCH, hour_of(time) + timedelta(hours=1))
            self.seal()

    @property
    def is_settled(self) -> bool:
        """Whether all debts are paid."""
        return not any(stretch.owed for stretch in self._stretches)

    def seal(self) -> None:
        """Begin a new stretch, so that what comes after cannot hold back what came before."""
        self._current.is_sealed = True
        self._current = Stretch(self.advance)
        self._stretches.append(self._current)
        self.advance()

    def advance(self) -> None:
        """Move on over every stretch that is settled and has none unsettled before it."""
        while not (stretch := self._stretches[0]).owed:
            self._reach(stretch)
            if not stretch.is_sealed:
                return
            self._stretches.popleft()

    def _reach(self, stretch: Stretch) -> None:
        if stretch.time is None:
            return
        self.last_trade_id = stretch.last_trade_id
        before = self.closed_through
        if before is None or stretch.time > before:
            self.closed_through = stretch.time
            if before is None or hour_of(stretch.time) > hour_of(before):
                self._hour_closed()
