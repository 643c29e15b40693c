"""Who may act on the long-lived services: one owner at a time, and a number that tells a stale one that it is stale."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


class OwnedElsewhereError(RuntimeError):
    """Another owner is in charge and has not ended."""


class FencedOffError(RuntimeError):
    """Another owner has taken over since; whatever this one still wants to do must not happen."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Who is in charge, and since which change of hands: each has a higher number than all before it."""

    owner: str
    number: int


class Fence:
    """A charge that changes hands, kept in a file and changed under a lock that dies with the process that holds it.

    Args:
        path: The file; on a disk of the machine whose services are acted on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, owner: str, *, has_ended: Callable[[str], bool]) -> Charge:
        """Take charge, or stay in charge.

        Args:
            owner: Who asks.
            has_ended: Whether another owner will do nothing more.

        Raises:
            OwnedElsewhereError: If another owner is in charge and has not ended.
        """
        with self._locked() as file:
            standing = _read(file)
            if standing is not None and standing.owner == owner:
                return standing
            if standing is not None and not has_ended(standing.owner):
                raise OwnedElsewhereError(f"{standing.owner} is in charge and has not ended")
            charge = Charge(owner, standing.number + 1 if standing else 1)
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(asdict(charge)).encode(), 0)
            os.fsync(file)
            return charge

    @contextmanager
    def acting(self, charge: Charge) -> Iterator[None]:
        """Act while in charge: nobody can take over before this ends.

        Raises:
            FencedOffError: If somebody has taken over.
        """
        with self._locked() as file:
            standing = _read(file)
            if standing != charge:
                raise FencedOffError(f"{charge.owner} (number {charge.number}) was in charge; now it is {standing}")
            yield

    @contextmanager
    def intervening(self) -> Iterator[None]:
        """Act as a person who comes between: whoever is in charge waits until this ends, and stays in charge."""
        with self._locked():
            yield

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def _read(file: int) -> Charge | None:
    """Read the charge; none if there never was one, or its writer died within the write."""
    try:
        return Charge(**json.loads(os.pread(file, 4096, 0)))
    except (ValueError, TypeError):
        return None
