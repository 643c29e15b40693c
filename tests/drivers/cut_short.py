"""A replay of dead letters that is killed: `python -m tests.drivers.cut_short STEP SEED`, places on standard input.

The process kills itself with SIGKILL a moment after its STEPth use of the producer, while records may be on their way.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from typing import Any

from confluent_kafka import Producer

from streaming import replays

STEP, SEED = map(int, sys.argv[1:3])
MOMENT = 0.02
"""Seconds within which the kill comes after the step; the client sends what it was given within some of them."""


class CutShort(Producer):
    """A producer whose process does not live long."""

    steps = 0

    def produce(self, *arguments: Any, **named: Any) -> None:
        super().produce(*arguments, **named)
        self._step()

    def flush(self, *arguments: Any) -> int:
        left = super().flush(*arguments)
        self._step()
        return left

    def _step(self) -> None:
        self.steps += 1
        if self.steps == STEP:
            time.sleep(random.Random(SEED).uniform(0, MOMENT))
            os.kill(os.getpid(), signal.SIGKILL)


replays.Producer = CutShort
replays.BATCH = 16
replays.SETTLE_SECONDS = 0.5
replays.main()
