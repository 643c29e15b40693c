"""The exchange's clock, and by how much a recording is moved to fit it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from include.settings import Settings
from stack.failures import StackError
from stack.first_start import keep_choices
from stack.replica.recordings import SECOND, Span, microseconds, moment

_SHORTEST_SLEEP = 0.005
"""Seconds; what falls due within them is sent together."""


class Anchor(msgspec.Struct, frozen=True):
    """A moment on both clocks, in microseconds from 1970 UTC, and how fast the exchange's runs from there."""

    wall: int = 0
    exchange: int = 0
    speed: float = 1.0


class Clock:
    """The exchange's time: this machine's, or one that runs faster or slower from an anchor."""

    def __init__(self, anchor: Anchor | None = None) -> None:
        self.anchor = anchor or Anchor()

    @property
    def speed(self) -> float:
        """How many seconds pass on the exchange in one of this machine's."""
        return self.anchor.speed

    def now(self) -> int:
        """Return the moment it is on the exchange."""
        return _exchange_time(self.anchor, time.time_ns() // 1000)

    async def sleep_until(self, due: int) -> None:
        """Wait until a moment on the exchange."""
        await asyncio.sleep(max((due - self.now()) / SECOND / self.speed, _SHORTEST_SLEEP))

    async def sleep(self, seconds: float) -> None:
        """Wait for a while of this machine's time."""
        await asyncio.sleep(seconds)


def _exchange_time(anchor: Anchor, wall: int) -> int:
    return anchor.exchange + int((wall - anchor.wall) * anchor.speed)


def keep_clock(path: Path, speed: float) -> Clock:
    """Return a clock of this speed that goes on where the last one of this stack was.

    At speed 1 it is this machine's clock, unless another speed was used before: exchange time never runs back.

    Raises:
        StackError: If the kept anchor cannot be read or written.
    """
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Anchor) if path.exists() else Anchor()
        if kept.speed != speed:
            wall = time.time_ns() // 1000
            kept = Anchor(wall, _exchange_time(kept, wall), speed)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.encode(kept))
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(f"The replica's clock in {path} cannot be kept: {error}.") from error
    return Clock(kept)


def choose_shift(recording: Span, now: datetime) -> int:
    """Say by how many hours to move a recording, so that its last hour is the last full hour before `now`."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    return (this_hour - recording.end) // timedelta(hours=1)


def keep_shift(settings: Settings, recording: Span, now: int) -> int:
    """Return the shift that this stack keeps; if it has none yet, choose one and keep it.

    Raises:
        StackError: If the kept shift belongs to another recording, or a new one cannot be kept.
    """
    shift = settings.replica_shift_hours
    if shift is None:
        shift = choose_shift(recording, moment(now))
        try:
            keep_choices(settings.state_dir, {"LAKE_REPLICA_SHIFT_HOURS": str(shift)})
        except OSError as error:
            raise StackError(f"The shift of the recording cannot be kept: {error}.") from error
    if microseconds(recording.first_hour + timedelta(hours=shift)) > now:
        raise StackError(
            f"Moved by the kept {shift} hours this recording begins in the future: the shift was chosen for another "
            f"one. Give that one, or a state folder of its own (LAKE_STATE_DIR)."
        )
    return shift
