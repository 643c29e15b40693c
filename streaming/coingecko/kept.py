"""What must survive a restart, in one file of the state folder: the month's requests, what was written, a hold."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

from include.settings import Settings
from streaming.coingecko.budget import Spent
from streaming.failures import RefusalError


def file_of(settings: Settings) -> Path:
    """Return where it is kept; what the replica is asked costs nothing at the venue."""
    return settings.state_dir / "data" / "producer-coingecko" / f"{settings.exchange}.json"


class Kept(msgspec.Struct, frozen=True):
    """The file's content.

    Args:
        written: Digests of what is in Kafka, by topic and key.
        held_until: Until when the venue, asked too often, wants to be left alone; None if it never said so.
    """

    spent: Spent = Spent()
    written: dict[str, list[str]] = {}
    held_until: datetime | None = None


def load(file: Path) -> Kept:
    """Read the file; without one nothing was asked yet.

    Raises:
        RefusalError: If it cannot be read: to begin at 0 might ask more than is allowed.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Kept)
    except FileNotFoundError:
        return Kept()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RefusalError(
            f"{file} cannot be read ({error}): delete it to count this month's requests from 0"
        ) from error


def save(file: Path, kept: Kept) -> None:
    """Replace the file, whole or not at all, and see it on the disk.

    Raises:
        OSError: If the disk does not take it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".incoming")
    with beside.open("wb") as new:
        new.write(msgspec.json.encode(kept))
        new.flush()
        os.fsync(new.fileno())
    beside.replace(file)
