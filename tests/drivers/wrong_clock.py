"""A module run by a wrong clock: `python -m tests.drivers.wrong_clock SECONDS streaming.coinbase`.

Every time that the producers give to a record comes from `time.time_ns`. Kafka's client and the log go by the machine.
"""

from __future__ import annotations

import runpy
import sys
import time

SECONDS, MODULE = int(sys.argv[1]), sys.argv[2]

right, right_ns = time.time, time.time_ns
time.time = lambda: right() + SECONDS
time.time_ns = lambda: right_ns() + SECONDS * 10**9
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
