"""What participants print in the end."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Awaitable, Callable


async def measured(follow: Callable[[], Awaitable[None]], frames: int) -> None:
    """Run one participant and print what it took: frames per CPU second of the process and per second."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    await follow()
    after, seconds = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"per_cpu": frames / cpu, "per_second": frames / seconds}))


def timed(work: Callable[[], None]) -> None:
    """Do a participant's work and print how many seconds it took; what was imported before is not counted."""
    began = time.perf_counter()
    work()
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
