"""When the hours are due."""

from __future__ import annotations

from datetime import datetime, timedelta

from include.settings import Settings


def first_run(settings: Settings) -> datetime:
    """Return when the lake's first hour is due: at its end, for the runs of the schedule work on the hour before them.

    Raises:
        ValueError: If the lake has no first hour yet.
    """
    if settings.first_hour is None:
        raise ValueError(f"no first hour in {settings.state_dir}; run `python -m stack init`")
    return settings.first_hour + timedelta(hours=1)
