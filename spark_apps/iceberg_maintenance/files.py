"""The data files of one table: how many there are, and making few of many."""

from __future__ import annotations

import time
from datetime import datetime

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from include.contracts.bronze import ARRIVED
from include.contracts.table import Table


class RowsChangedError(RuntimeError):
    """A compaction has taken another number of rows than it gave back."""


class Files:
    """The files of one table on the session's branch."""

    def __init__(self, spark: SparkSession, catalog: str, table: Table) -> None:
        self._spark = spark
        self._catalog = catalog
        self._table = table
        self._name = f"{catalog}.{table.full_name}"

    def measure(self) -> dict[str, int | float]:
        """Count data files, their bytes and rows, manifests and snapshots.

        `query_s` is how many seconds it takes to read the newest day, or all of a table that has no days.
        """
        files = self._spark.sql(
            "select count(*), coalesce(sum(file_size_in_bytes), 0), coalesce(sum(record_count), 0) "
            f"from {self._name}.files"
        ).first()
        assert files is not None
        return {
            "files": files[0],
            "bytes": files[1],
            "rows": files[2],
            "manifests": self._spark.table(f"{self._name}.manifests").count(),
            "snapshots": self._spark.table(f"{self._name}.snapshots").count(),
            "query_s": self._query_seconds(),
        }

    def compact(self, settled_before: datetime) -> int:
        """Make few files of many small ones, as the contract says; return how many there were.

        An hour of Silver or Gold is in the table once it is published, so all that is there is over. A stream goes on
        beside this: it adds files, of which this takes none, and whoever commits second does so once more.

        Sorting goes by the order that the table was created with: beside Nessie's SQL, Iceberg cannot read one here.

        Args:
            settled_before: Of a streamed table, what arrived at this time or later is left alone.

        Raises:
            RowsChangedError: If not every row came back.
        """
        policy = self._table.upkeep
        # One group of files at a time, which is what a small machine has memory for.
        options = {
            "target-file-size-bytes": policy.target_bytes,
            "min-input-files": policy.min_files,
            "max-concurrent-file-group-rewrites": 1,
        }
        listed = ", ".join(f"'{key}', '{value}'" for key, value in options.items())
        words = [
            f"table => '{self._table.full_name}'",
            f"strategy => '{policy.compaction}'",
            f"options => map({listed})",
        ]
        if self._table.streamed:
            words.append(f"where => \"{ARRIVED} < timestamp '{settled_before:%Y-%m-%d %H:%M:%S}+00:00'\"")
        since = self._newest_commit()
        done = self._spark.sql(f"call {self._catalog}.system.rewrite_data_files({', '.join(words)})").first()
        assert done is not None
        self._require_every_row(since)
        return int(done["rewritten_data_files_count"])

    def _newest_commit(self) -> datetime | None:
        row = self._spark.table(f"{self._name}.snapshots").agg(F.max("committed_at")).first()
        assert row is not None
        moment: datetime | None = row[0]
        return moment

    def _require_every_row(self, since: datetime | None) -> None:
        """Hold the commits that replaced files against what they say of their rows."""
        replaced = self._spark.table(f"{self._name}.snapshots").where("operation = 'replace'")
        if since is not None:
            replaced = replaced.where(F.col("committed_at") > F.lit(since))
        for row in replaced.select("snapshot_id", "summary").collect():
            taken, given = (int(row["summary"].get(key, 0)) for key in ("deleted-records", "added-records"))
            if taken != given:
                raise RowsChangedError(
                    f"snapshot {row['snapshot_id']} of {self._table.full_name} took {taken} rows and gave {given}"
                )

    def _query_seconds(self) -> float:
        rows = self._spark.table(self._name)
        column = ARRIVED if ARRIVED in self._table.column_names else self._table.hour_column
        if column is not None:
            newest = rows.agg(F.max(column)).first()
            if newest is not None and newest[0] is not None:
                rows = rows.where(F.col(column) >= F.lit(str(newest[0])[:10]))
        began = time.monotonic()
        rows.write.format("noop").mode("overwrite").save()
        return round(time.monotonic() - began, 3)
