"""What of a table's history may go. Pure: the moment before which it may comes from the caller."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of a table.

    Args:
        is_of_stream: Whether a streaming query committed it.
    """

    id: int
    parent_id: int | None
    committed_at: datetime
    is_of_stream: bool


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """One file of a table's metadata."""

    location: str
    written_at: datetime


def expirable(snapshots: Iterable[Snapshot], current_id: int | None, before: datetime) -> list[int]:
    """Return the ids of the snapshots that may go: older than `before`, and needed by no one.

    A streaming query that starts again looks for its last batch from the current snapshot back, parent by parent. If
    one of them were missing up to the newest that the query made, it would not find that one and append it again. So
    all from the current snapshot back to the newest of a stream stay, however old.
    """
    by_id = {snapshot.id: snapshot for snapshot in snapshots}
    ancestry: list[Snapshot] = []
    at = by_id.get(current_id) if current_id is not None else None
    while at is not None:
        ancestry.append(at)
        at = by_id.get(at.parent_id) if at.parent_id is not None else None
    of_stream = next((place for place, snapshot in enumerate(ancestry) if snapshot.is_of_stream), 0)
    needed = {snapshot.id for snapshot in ancestry[: of_stream + 1]}
    return [snapshot.id for snapshot in by_id.values() if snapshot.committed_at < before and snapshot.id not in needed]


def deletable(files: Iterable[MetadataFile], current: Set[str], before: datetime) -> list[str]:
    """Return the metadata files that may go: written before a moment, and current on no branch or tag.

    Args:
        current: The locations that some reference points to.
    """
    return [
        file.location
        for file in files
        if file.location.endswith(".metadata.json") and file.written_at < before and file.location not in current
    ]
