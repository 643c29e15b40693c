"""The upkeep of one Iceberg table, by Iceberg's Java API: Spark's procedures would delete files that a branch needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from include.contracts.table import Table
from spark_apps.upkeep.history import MetadataFile, Snapshot, deletable, expirable

GC = "gc.enabled"
"""The property without which no snapshot can be expired. Nessie turns it off, for Iceberg sees one branch only."""

MANY_MANIFESTS = 100
"""Fewer are not worth a commit."""


class Upkeep:
    """What can be done for one table on the session's branch. Each step may be repeated; rows never change."""

    def __init__(self, spark: SparkSession, catalog: str, table: Table) -> None:
        self._spark = spark
        self._catalog = catalog
        self._table = table
        java: Any = spark._jvm
        self._java = java
        self._iceberg_catalog = java.org.apache.iceberg.spark.Spark3Util.loadIcebergCatalog(
            spark._jsparkSession, catalog
        )
        self._iceberg = self._iceberg_catalog.loadTable(self._identifier())

    def refresh(self) -> None:
        """See what others have committed to the table."""
        self._iceberg.refresh()

    def merge_manifests(self, many: int | None = None) -> int:
        """Merge the manifests, of which each commit adds one; return how many there were if too many.

        Args:
            many: From how many on; None: from `MANY_MANIFESTS`.
        """
        current = self._iceberg.currentSnapshot()
        count = 0 if current is None else current.allManifests(self._iceberg.io()).size()
        if count < (MANY_MANIFESTS if many is None else many):
            return 0
        name = self._table.full_name
        self._spark.sql(f"call {self._catalog}.system.rewrite_manifests(table => '{name}', use_caching => false)")
        self._iceberg.refresh()
        return int(count)

    def expire_snapshots(self, before: datetime) -> int:
        """Drop from the metadata what was replaced before a moment; return how many snapshots."""
        snapshots = [
            Snapshot(
                id=snapshot.snapshotId(),
                parent_id=snapshot.parentId(),
                committed_at=_moment(snapshot.timestampMillis()),
                is_of_stream="spark.sql.streaming.queryId" in snapshot.summary(),
            )
            for snapshot in self._iceberg.snapshots()
        ]
        current = self._iceberg.currentSnapshot()
        expired = expirable(snapshots, current and current.snapshotId(), before)
        if expired:
            # Within one commit: afterwards again nobody can expire who would delete what another branch needs.
            expiry = self._iceberg.newTransaction()
            allowed = self._iceberg.properties().get(GC)
            expiry.updateProperties().set(GC, "true").commit()
            # By id only: by age, Iceberg would also take the stream's newest if that is old.
            update = expiry.expireSnapshots().expireOlderThan(0).cleanExpiredFiles(False)
            for snapshot_id in expired:
                update.expireSnapshotId(snapshot_id)
            update.commit()
            expiry.updateProperties().set(GC, allowed or "false").commit()
            expiry.commitTransaction()
        return len(expired)

    def delete_metadata_files(self, before: datetime) -> int:
        """Delete the metadata files that no branch or tag points to any more; return how many.

        Nessie keeps Iceberg from doing it after each commit, for Iceberg sees one branch only.
        """
        io = self._iceberg.io()
        files = [
            MetadataFile(file.location(), _moment(file.createdAtMillis()))
            for file in each(io.listPrefix(f"{self._iceberg.location()}/metadata/"))
        ]
        old = deletable(files, self._current_files(), before)
        for location in old:
            io.deleteFile(location)
        return len(old)

    def _current_files(self) -> set[str]:
        """Return the metadata file that each branch and tag points to."""
        names = [row["name"] for row in self._spark.sql(f"list references in {self._catalog}").collect()]
        identifiers = [self._identifier(name) for name in names]
        return {
            self._iceberg_catalog.loadTable(identifier).operations().current().metadataFileLocation()
            for identifier in identifiers
            if self._iceberg_catalog.tableExists(identifier)
        }

    def _identifier(self, reference: str | None = None) -> Any:  # noqa: ANN401 (Java's TableIdentifier)
        name = self._table.name if reference is None else f"{self._table.name}@{reference}"
        words = self._spark.sparkContext._gateway.new_array(self._java.String, 2)  # type: ignore[union-attr]
        words[0], words[1] = str(self._table.layer), name
        return self._java.org.apache.iceberg.catalog.TableIdentifier.of(words)


def each(iterable: Any) -> Iterator[Any]:  # noqa: ANN401 (any Java Iterable)
    """Yield what a Java Iterable holds."""
    iterator = iterable.iterator()
    while iterator.hasNext():
        yield iterator.next()


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
