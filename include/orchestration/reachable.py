"""Which files some branch, tag or promised moment of the past needs: all that may not be deleted.

Iceberg's own clean-up sees one branch. This follows all of them, from Nessie's commits down to data files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from include.contracts import TABLES
from include.orchestration.nessie import Content, Nessie

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

log = logging.getLogger(__name__)

STREAMED = frozenset(table.full_name for table in TABLES if table.streamed)
"""Their metadata of the past is deleted within hours, so of them only what is there now can be read."""


@dataclass
class Reached:
    """The files that are needed, as they are found; what was looked at once is not looked at again.

    Args:
        io: Reads the store.
    """

    io: FileIO
    files: set[str] = field(default_factory=set)
    _commits: set[str] = field(default_factory=set)
    _tables: set[tuple[str, bool]] = field(default_factory=set)

    def add_references(self, nessie: Nessie) -> int:
        """Reach all that branches and tags hold now, every snapshot of every table; return how many were new.

        Raises:
            FileNotFoundError: If a reference points to what is not there: then nothing may be deleted.
        """
        new = [reference for reference in nessie.references() if reference.hash not in self._commits]
        for reference in new:
            self._commits.add(reference.hash)
            for content in nessie.contents(reference.hash):
                self._add(content, whole=True)
        return len(new)

    def add_past(self, nessie: Nessie, branch: str, since: datetime) -> None:
        """Reach what was current on a branch at any moment since another; of streamed tables nothing."""
        for content in past(nessie, branch, since):
            if content.name in STREAMED:
                continue
            try:
                self._add(content, whole=False)
            except FileNotFoundError as lost:
                # Nothing can bring that moment back, and nobody's head needs it.
                log.warning("%s of the past cannot be read: %s", content.name, lost)

    def _add(self, content: Content, *, whole: bool) -> None:
        """Reach a table's or a view's metadata file, and of a table all snapshots or the current one."""
        location = content.metadata_location
        if location is None or (location, whole) in self._tables:
            return
        self.files.add(_key(location))
        if content.type == "ICEBERG_TABLE":
            metadata = _read(self.io, location)
            self.files.update(_key(statistics.statistics_path) for statistics in metadata.statistics)
            self.files.update(_key(statistics.statistics_path) for statistics in metadata.partition_statistics)
            for snapshot in metadata.snapshots if whole else _current(metadata):
                self._add_snapshot(snapshot)
        self._tables.add((location, whole))

    def _add_snapshot(self, snapshot: Snapshot) -> None:
        listed = _key(snapshot.manifest_list)
        if listed in self.files:
            return
        for manifest in snapshot.manifests(self.io):
            path = _key(manifest.manifest_path)
            if path not in self.files:
                entries = manifest.fetch_manifest_entry(self.io, discard_deleted=True)
                self.files.update(_key(entry.data_file.file_path) for entry in entries)
                self.files.add(path)
        self.files.add(listed)


def past(nessie: Nessie, branch: str, since: datetime) -> Iterator[Content]:
    """Yield what each commit of a branch since a moment put there, and all that there was at that moment."""
    for commit in nessie.history(branch, with_contents=True):
        if commit.committed_at < since:
            yield from nessie.contents(commit.hash)
            return
        yield from commit.contents


def _read(io: FileIO, location: str) -> TableMetadata:
    from pyiceberg.serializers import FromInputFile

    return FromInputFile.table_metadata(io.new_input(location))


def _current(metadata: TableMetadata) -> list[Snapshot]:
    snapshot = metadata.current_snapshot()
    return [snapshot] if snapshot else []


def _key(location: str) -> str:
    """Return `bucket/path` of a file: engines spell the scheme as `s3` or `s3a`."""
    return location.partition("://")[2]
