"""Records that Kafka did not take before the producer had to stop: kept in a file and sent at the next start."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from streaming.records import Record


class _Line(msgspec.Struct, frozen=True):
    """One record in the file; bytes are base64."""

    topic: str
    key: str
    value: bytes
    headers: list[tuple[str, bytes]]


def save(file: Path, records: Iterable[Record]) -> None:
    """Append records to a file and see them on the disk.

    Raises:
        OSError: If the disk does not take them.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as lines:
        for record in records:
            lines.write(msgspec.json.encode(_Line(record.topic, record.key, record.value, record.headers)) + b"\n")
        lines.flush()
        os.fsync(lines.fileno())


def load(file: Path) -> list[Record]:
    """Read the records of a file; a last line that a crash cut short is left out."""
    if not file.exists():
        return []
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    lines = (msgspec.json.decode(line, type=_Line) for line in whole.splitlines())
    return [Record(line.topic, line.key, line.value, line.headers) for line in lines]
