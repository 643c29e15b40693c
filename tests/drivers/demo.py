"""What the tests' own demo plays, and what it left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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

    def alerts(self) -> list[dict[str, Any]]:
        """Return all alerts so far, oldest first."""
        file = self.stack.settings.alerts_file
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
