"""Keep the streamed tables small: at a commit every ten seconds a day makes 8,640 snapshots and as many manifests.

    spark-submit spark_apps/bronze_upkeep/job.py [bronze.trades …]

Without names, all streamed tables. Of each it merges the manifests, drops old snapshots from the metadata, and deletes
old metadata files. Data files stay, and all that any branch or tag points to, so readers notice nothing.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import SparkSession

from include.contracts import TABLES
from include.contracts.table import Table
from include.logs import log_as_json
from include.settings import Settings
from spark_apps.bronze_upkeep.retention import MetadataFile, Snapshot, deletable, expirable

log = logging.getLogger("bronze_upkeep")

KEEP = timedelta(hours=2)
"""How long snapshots and metadata files stay after they were replaced: longer than any query runs."""

MANY_MANIFESTS = 100
"""Fewer are not worth a commit."""


class Upkeep:
    """The upkeep of one table, by Iceberg's Java API: Spark's procedures would delete files that a branch needs."""

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

    def merge_manifests(self) -> int:
        """Merge the manifests, of which each commit of a stream adds one; return how many there were if too many."""
        current = self._iceberg.currentSnapshot()
        count = 0 if current is None else current.allManifests(self._iceberg.io()).size()
        if count < MANY_MANIFESTS:
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
            # By id only: by age, Iceberg would also take the stream's newest if that is old.
            update = self._iceberg.expireSnapshots().expireOlderThan(0).cleanExpiredFiles(False)
            for snapshot_id in expired:
                update.expireSnapshotId(snapshot_id)
            update.commit()
        return len(expired)

    def delete_metadata_files(self, before: datetime) -> int:
        """Delete the metadata files that no branch or tag points to any more; return how many.

        Nessie keeps Iceberg from doing it after each commit, for Iceberg sees one branch only.
        """
        io = self._iceberg.io()
        files = [
            MetadataFile(file.location(), _moment(file.createdAtMillis()))
            for file in _each(io.listPrefix(f"{self._iceberg.location()}/metadata/"))
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


def keep_small(upkeep: Upkeep, now: datetime) -> dict[str, int]:
    """Do all that keeps one table small; return what was done."""
    return {
        "manifests_merged": upkeep.merge_manifests(),
        "snapshots_expired": upkeep.expire_snapshots(now - KEEP),
        "metadata_files_deleted": upkeep.delete_metadata_files(now - KEEP),
    }


def tables(names: Sequence[str]) -> list[Table]:
    """Return the streamed tables of these names, or all.

    Raises:
        ValueError: If a name is not that of a streamed table.
    """
    streamed = {table.full_name: table for table in TABLES if table.streamed}
    unknown = set(names) - set(streamed)
    if unknown:
        raise ValueError(f"no streamed table {', '.join(sorted(unknown))}; there are {', '.join(streamed)}")
    return [streamed[name] for name in names or streamed]


def _each(iterable: Any) -> Iterator[Any]:  # noqa: ANN401 (any Java Iterable)
    iterator = iterable.iterator()
    while iterator.hasNext():
        yield iterator.next()


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def main() -> int:
    """Look after the tables; return the exit code."""
    log_as_json()
    parser = argparse.ArgumentParser(prog="bronze_upkeep", description="Keep the streamed tables small.")
    parser.add_argument("tables", nargs="*", help="like bronze.trades; all streamed tables if none is given")
    try:
        chosen = tables(parser.parse_args().tables)
    except ValueError as mistake:
        parser.error(str(mistake))
    spark = SparkSession.builder.appName("bronze-upkeep").getOrCreate()
    catalog = Settings.load().catalog
    for table in chosen:
        done = keep_small(Upkeep(spark, catalog, table), datetime.now(UTC))
        log.info("table kept small", extra={"table": table.full_name, **done})
    return 0


if __name__ == "__main__":
    sys.exit(main())
