"""Misbehaviour on request: seeded, and every bit of it written down, so that a test knows what really happened."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import msgspec

from stack.replica import frames
from stack.replica.plan import (
    Broken,
    ChangedType,
    Delay,
    Drop,
    Failure,
    FeedFault,
    FeedName,
    Late,
    NewField,
    Plan,
    Reorder,
    Repeat,
    RestFault,
    Skip,
    Stale,
    Stall,
    TooMany,
    Unknown,
)
from stack.replica.recordings import SECOND, Trade

log = logging.getLogger(__name__)

_PATIENCE = SECOND
"""How long a reordered trade waits for the others of its group."""


class Words(Protocol):
    """How a feed writes what faults send beside or in place of a trade; each of its connections may have its own."""

    @property
    def feed(self) -> FeedName:
        """Whose words they are."""

    def product(self, trade: Trade) -> str:
        """Name a trade's product."""

    def whole(self, trade: Trade) -> bytes:
        """Write a trade's frame."""

    def with_new_field(self, trade: Trade, name: str) -> bytes:
        """Write a trade's frame with one more field."""

    def with_other_type(self, trade: Trade, name: str) -> bytes:
        """Write a trade's frame with a number in place of a text, or a text in place of a number."""

    def unheard_of(self, trade: Trade) -> bytes:
        """Write a frame of a type that nobody knows."""


class Injection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was done wrong on purpose.

    Args:
        feed: Which feed it struck; None if it is Coinbase's, or a request.
        at: Exchange time.
        product_id: The product whose trade it struck.
        trade_ids: The trades concerned, by their ids on the tape, in the order in which they were sent, or would have
            been.
        frame: The text that was sent beside or instead of a trade.
        path: The request it struck.
        seconds: How long the stall or the delay was, or how old the trade when it was sent.
        status: The HTTP status of the answer.
    """

    kind: str
    at: str
    feed: FeedName | None = None
    product_id: str | None = None
    trade_ids: tuple[int, ...] = ()
    frame: str | None = None
    path: str | None = None
    seconds: float | None = None
    status: int | None = None


Earlier = Callable[[str, int], Trade | None]
"""Gives the last trade of a product at a moment; None if there was none yet."""


class Report(msgspec.Struct, frozen=True):
    """What is armed and what has happened."""

    seed: int
    armed: tuple[FeedFault | RestFault, ...]
    injected: tuple[Injection, ...]


@dataclass(slots=True)
class Delivery:
    """What the feed sends in place of one trade: `frames` first, then the trades, unless connections are cut."""

    trades: list[Trade]
    frames: list[bytes] = field(default_factory=list)
    drop: bool = False
    stall: float | None = None


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a request suffers: a wait in seconds, and an error's status in place of an answer.

    Args:
        retry_after: The seconds that the error asks to wait; None if it does not say.
    """

    delay: float = 0.0
    status: int | None = None
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the error."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


@dataclass(slots=True)
class _Armed:
    fault: FeedFault | RestFault
    ready_at: int
    random: Random
    strikes_left: int | None
    run_left: int = 0

    def strikes(self, product_id: str | None, now: int) -> bool:
        """Decide whether it strikes here; one strike goes on for `count` trades or requests."""
        if now < self.ready_at or self.fault.product not in (None, product_id):
            return False
        if self.run_left:
            self.run_left -= 1
            return True
        if self.strikes_left == 0 or self.random.random() >= self.fault.chance:
            return False
        self.strikes_left = None if self.strikes_left is None else self.strikes_left - 1
        self.run_left = self.fault.count - 1
        return True


@dataclass(slots=True)
class _Held:
    """Trades kept back to be sent in reverse."""

    since: int
    trades: list[Trade] = field(default_factory=list)


class Faults:
    """The faults that are armed, and the record of those that struck."""

    def __init__(self) -> None:
        self.injected: list[Injection] = []
        self._seed = 0
        self._armed: list[_Armed] = []
        self._planned = 0
        self._held: dict[Words, _Held] = {}
        self._late: list[tuple[int, Words, Trade]] = []

    def arm(self, plan: Plan, now: int) -> None:
        """Add faults to those that are armed."""
        self._seed = self._seed if plan.seed is None else plan.seed
        for fault in plan.faults:
            random = Random(f"{self._seed}/{self._planned}")
            self._armed.append(_Armed(fault, now + int(fault.after * SECOND), random, fault.times))
            self._planned += 1

    def disarm(self) -> None:
        """Behave well from now on; what was injected stays on record."""
        self._armed.clear()

    def report(self) -> Report:
        """Say what is armed and what was injected."""
        left = tuple(armed.fault for armed in self._armed if armed.strikes_left != 0 or armed.run_left)
        return Report(self._seed, left, tuple(self.injected))

    def on_trade(
        self,
        trade: Trade,
        now: int,
        words: Words = frames.COINBASE,
        earlier: Earlier = lambda product_id, at: None,
    ) -> Delivery:
        """Decide what is sent when this trade is due.

        Args:
            earlier: Where a trade that is sent once more is looked up.
        """
        delivery, product_id = Delivery([trade]), words.product(trade)
        for armed in self._armed:
            fault = armed.fault
            if isinstance(fault, FeedFault) and fault.feed == words.feed and armed.strikes(product_id, now):
                self._spoil(delivery, fault, trade, now, words, earlier, is_last=not armed.run_left)
        return delivery

    def _spoil(
        self,
        delivery: Delivery,
        fault: FeedFault,
        trade: Trade,
        now: int,
        words: Words,
        earlier: Earlier,
        *,
        is_last: bool,
    ) -> None:
        frame: bytes | None = None
        seconds: float | None = None
        match fault:
            case Drop():
                delivery.drop = True
            case Skip():
                delivery.trades.clear()
            case Repeat(copies=copies):
                delivery.trades *= 1 + copies
            case Late(seconds=seconds):
                self._late.append((now + int(seconds * SECOND), words, trade))
                delivery.trades.clear()
            case Stale(seconds=seconds):
                old = earlier(trade.product_id, trade.time - int(seconds * SECOND))
                if old is None:
                    return
                delivery.trades.insert(0, old)
                trade = old
            case Broken(instead=instead):
                whole = words.whole(trade)
                frame = whole[: len(whole) // 2]
                if instead:
                    delivery.trades.clear()
            case NewField(field=name):
                frame = words.with_new_field(trade, name)
                delivery.trades.clear()
            case ChangedType(field=name):
                frame = words.with_other_type(trade, name)
                delivery.trades.clear()
            case Unknown():
                frame = words.unheard_of(trade)
            case Stall():
                delivery.stall = seconds = fault.seconds
            case Reorder():
                self._hold(delivery, now, words, is_last=is_last)
                return
        if frame is not None:
            delivery.frames.append(frame)
        self._record(fault, now, [trade], words, frame=frame.decode() if frame else None, seconds=seconds)

    def _hold(self, delivery: Delivery, now: int, words: Words, *, is_last: bool) -> None:
        """Keep a trade back until its group is whole."""
        self._held.setdefault(words, _Held(now)).trades += delivery.trades
        delivery.trades[:] = self._release(now, words) if is_last else []

    def _release(self, now: int, words: Words) -> list[Trade]:
        trades = self._held.pop(words).trades[::-1]
        for product_id in dict.fromkeys(trade.product_id for trade in trades):
            self._record(Reorder(), now, [trade for trade in trades if trade.product_id == product_id], words)
        return trades

    def overdue(self, now: int, words: Words = frames.COINBASE) -> list[Trade]:
        """Return the trades that waited long enough: for the rest of their group, in reverse, or to be late."""
        is_due = [whose == words and until <= now for until, whose, _ in self._late]
        due = [trade for (_, _, trade), is_now in zip(self._late, is_due, strict=True) if is_now]
        self._late = [late for late, is_now in zip(self._late, is_due, strict=True) if not is_now]
        held = self._held.get(words)
        return due + (self._release(now, words) if held and now - held.since >= _PATIENCE else [])

    def hold_back(self, words: Words) -> bool:
        """Say whether trades wait: for the rest of their group, or to be late."""
        return words in self._held or any(whose == words for _, whose, _ in self._late)

    def forget_held(self, words: Words = frames.COINBASE) -> None:
        """Lose the trades kept back, with the connections that they were meant for."""
        self._held.pop(words, None)

    def on_request(self, path: str, product_id: str | None, now: int) -> Treatment:
        """Decide what a REST request suffers."""
        delay, status, retry_after = 0.0, None, None
        for armed in self._armed:
            if isinstance(armed.fault, FeedFault) or (armed.fault.path or "") not in path:
                continue
            if not armed.strikes(product_id, now):
                continue
            match armed.fault:
                case Delay(seconds=seconds):
                    delay += seconds
                    self._record(armed.fault, now, path=path, seconds=seconds)
                case TooMany():
                    status, retry_after = 429, armed.fault.retry_after
                    self._record(armed.fault, now, path=path, status=status)
                case Failure():
                    status = armed.fault.status
                    self._record(armed.fault, now, path=path, status=status)
        return Treatment(delay, status, retry_after)

    def _record(
        self,
        fault: FeedFault | RestFault,
        now: int,
        trades: Sequence[Trade] = (),
        words: Words = frames.COINBASE,
        *,
        frame: str | None = None,
        path: str | None = None,
        seconds: float | None = None,
        status: int | None = None,
    ) -> None:
        injection = Injection(
            kind=str(fault.__struct_config__.tag),
            at=frames.wire_time(now),
            feed=None if words.feed == "coinbase" else words.feed,
            product_id=words.product(trades[0]) if trades else None,
            trade_ids=tuple(trade.trade_id for trade in trades),
            frame=frame,
            path=path,
            seconds=seconds,
            status=status,
        )
        self.injected.append(injection)
        log.warning("fault injected: %s", msgspec.json.encode(injection).decode())
