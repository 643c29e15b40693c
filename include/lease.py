"""One holder per name: two producers of one venue, or two writers on one checkpoint, must never run at once."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self


class LeaseTakenError(RuntimeError):
    """Another process holds the lease; the message names it and says what to do."""


class Lease:
    """A lock on `<state_dir>/leases/<name>.lock`, held from `with` to its end.

    The kernel keeps the lock with the open file and frees it when the process dies, however it dies. So there is no
    time-out to choose, no heartbeat to miss, and nothing to clean up after a `kill -9`.

    Args:
        state_dir: The state folder of the stack. It must be on a local disk.
        name: What is leased: `producer-coinbase`, `bronze-writer`.
    """

    def __init__(self, state_dir: Path, name: str) -> None:
        self.name = name
        self.path = state_dir / "leases" / f"{name}.lock"
        self._file: int | None = None

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
            LeaseTakenError: If another process holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise LeaseTakenError(
                f"{self.name} is already running: {self._holder()}; stop that one first, or leave it in charge"
            ) from None
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "started_at": datetime.now(UTC).isoformat()}
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(holder).encode() + b"\n", 0)
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the lease back."""
        if self._file is not None:
            # The file stays: unlinking it would let a third process lock a new file of the same name beside a second.
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None

    def _holder(self) -> str:
        """Say who holds the lease, as far as the file tells."""
        try:
            holder = json.loads(self.path.read_text())
            return f"pid {holder['pid']} on {holder['host']} since {holder['started_at']}"
        except (OSError, ValueError, KeyError):
            return f"another process that has just locked {self.path}"
