"""Waiting for a condition, with a bound and with words for when it does not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, within: float, what: str, every: float = 1.0) -> T:
    """Look again and again until there is something to see, and return it.

    Args:
        look: Returns something true once the condition holds; an error of it is not caught.
        within: Seconds of patience.
        what: The condition, as the failure names it.

    Raises:
        TimeoutError: If it did not come in time; its text has what was seen last.
    """
    deadline = time.monotonic() + within
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within:.0f} s in vain for {what}; last seen: {seen!r}")
        time.sleep(every)
    return seen
