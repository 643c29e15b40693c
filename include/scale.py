"""How many cores the Bronze writer uses: a person's choice, kept where the writer finds it without asking anybody.

The console says what is wanted; this file is what the writer starts with, while Airflow is down too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

FILE = "scale.json"
"""In the state folder."""
CORES = 1
"""What nobody chose otherwise."""


def cores(state_dir: Path) -> int:
    """Return with how many cores the writer starts; a file that says no number says nothing."""
    try:
        chosen = json.loads((state_dir / FILE).read_text())["bronze-writer"]
    except (OSError, ValueError, KeyError, TypeError):
        return CORES
    return chosen if isinstance(chosen, int) and chosen > 0 else CORES


def keep(state_dir: Path, chosen: int) -> None:
    """Keep a choice: after a kill the file has the one before or this one.

    Raises:
        OSError: If it cannot be written.
    """
    unfinished = state_dir / "tmp" / FILE
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("w") as file:
        json.dump({"bronze-writer": chosen}, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(state_dir / FILE)
