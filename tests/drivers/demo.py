"""What the tests' own demo plays, and what it left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tests.drivers.running_stack import RunningStack
from tests.truth.recorder import EDGE_PRODUCT
from tests.truth.tape import HOUR

PRODUCTS = ("BTC-USD", "DOGE-USD", "ETH-USD", "SOL-USD", EDGE_PRODUCT)
"""What is followed; DOGE-USD is listed and never trades."""


@dataclass(frozen=True)
class Demo:
    """The stack after its first `demo`, what that printed, and the hours that it published."""

    stack: RunningStack
    printed: str
    hours: tuple[datetime, ...]

    @property
    def start(self) -> datetime:
        """The start of the first published hour."""
        return self.hours[0]

    @property
    def end(self) -> datetime:
        """The end of the last."""
        return self.hours[-1] + HOUR
