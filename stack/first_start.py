"""What the first start of a stack decides for good: its secrets and its choices, kept in its state folder."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from stack.templates import write_private

SECRETS = "secrets.env"
CHOICES = "settings.env"
NOT_KEPT = ("LAKE_STATE_DIR", "LAKE_TOOLS_DIR", "LAKE_SERVICE", "LAKE_CONFIGURATION", "LAKE_REF")
"""Variables that say where to look, or that we set ourselves: they are no choices of a stack."""


def new_secrets() -> dict[str, str]:
    """Make one of each secret."""
    return {
        "LAKE_S3_ACCESS_KEY": secrets.token_hex(10),
        "LAKE_S3_SECRET_KEY": secrets.token_hex(20),
        "LAKE_POSTGRES_PASSWORD": secrets.token_hex(16),
        "LAKE_AIRFLOW_PASSWORD": secrets.token_hex(8),
        "LAKE_AIRFLOW_JWT_SECRET": secrets.token_hex(32),
        "LAKE_AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "LAKE_SUPERVISOR_PASSWORD": secrets.token_hex(16),
    }


def ensure_secrets(state_dir: Path, environment: Mapping[str, str]) -> bool:
    """Keep a secret for everything that needs one, readable by the owner only; whether any was added.

    A secret that the environment gives is taken; the others are made.
    """
    kept = read(state_dir / SECRETS)
    wanted = new_secrets()
    given = {name: environment[name] for name in wanted if environment.get(name)}
    complete = wanted | kept | given
    if complete != kept:
        write(state_dir / SECRETS, complete)
    return complete != kept


def chosen_hour(now: datetime, history_hours: int) -> datetime:
    """Return the first hour that a lake started now holds: whole hours of history before the running one."""
    return _hour_of(now) - timedelta(hours=history_hours)


def full_hours(first: datetime, now: datetime) -> int:
    """Count the hours from the first on that are over; none if it lies ahead."""
    return max((_hour_of(now) - first) // timedelta(hours=1), 0)


def choices_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Pick what a user chose through the environment and what must hold for later commands, too."""
    passed_over = {*NOT_KEPT, *new_secrets()}
    return {name: value for name, value in environment.items() if name.startswith("LAKE_") and name not in passed_over}


def keep_choices(state_dir: Path, choices: Mapping[str, str]) -> None:
    """Add to the kept choices; a choice made again replaces the one before."""
    kept = read(state_dir / CHOICES)
    if kept | dict(choices) != kept or not (state_dir / CHOICES).exists():
        write(state_dir / CHOICES, kept | dict(choices))


def digest(state_dir: Path) -> str:
    """Return a hash of the kept choices: services that read them start anew when it changes."""
    kept = repr(sorted(read(state_dir / CHOICES).items()))
    return hashlib.sha256(kept.encode()).hexdigest()[:16]


def read(path: Path) -> dict[str, str]:
    """Read a file of `NAME="value"` lines; a missing one is empty."""
    if not path.exists():
        return {}
    lines = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: _unquoted(value) for name, value in lines}


def write(path: Path, values: Mapping[str, str]) -> None:
    """Write a file of `NAME="value"` lines that only its owner can read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, "".join(f'{name}="{_quoted(value)}"\n' for name, value in sorted(values.items())))


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _unquoted(value: str) -> str:
    return value.strip().removeprefix('"').removesuffix('"').replace('\\"', '"').replace("\\\\", "\\")


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def is_private(path: Path) -> bool:
    """Whether nobody but the owner may read or write a file."""
    return path.stat().st_mode & 0o077 == 0 and path.stat().st_uid == os.getuid()
