"""What the object store holds, and how much room it has."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

SETTLED_SECONDS = 2.0
"""A folder that changed more lately than this is read again: another change may have left the same time."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder as it was read: when it had changed last, the bytes of its own files, its folders."""

    changed_ns: int
    size: int
    folders: tuple[str, ...]


class Store:
    """Measures the store's folder. A folder that has not changed is not read again, so old days cost next to nothing.

    Objects are never changed, only added and removed, which changes their folder.

    Args:
        root: The folder whose folders are the buckets.
        bucket: The bucket of the tables; they lie in it as `warehouse/<layer>/<table>_<uuid>`.
    """

    def __init__(self, root: Path, bucket: str) -> None:
        self._root = root
        self._bucket = bucket
        self._known: dict[str, _Folder] = {}

    def read(self) -> Sequence[Metric]:
        """Add up all files.

        Raises:
            OSError: If the folder cannot be read.
        """
        buckets = GaugeMetricFamily("store_bucket_bytes", "Bytes of a bucket's objects.", labels=("bucket",))
        tables = GaugeMetricFamily(
            "store_table_bytes", "Bytes of a table's files of all kinds, with those of old snapshots.",
            labels=("table",),
        )  # fmt: skip
        sizes: Counter[str] = Counter()
        known: dict[str, _Folder] = {}
        for bucket in sorted(path for path in self._root.iterdir() if path.is_dir()):
            buckets.add_metric((bucket.name,), self._size(str(bucket), known))
        for path in (self._root / self._bucket / "warehouse").glob("*/*"):
            if path.is_dir():
                sizes[f"{path.parent.name}.{path.name.rpartition('_')[0]}"] += _total(str(path), known)
        for table, size in sorted(sizes.items()):
            tables.add_metric((table,), size)
        self._known = known
        disk = shutil.disk_usage(self._root)
        return (
            buckets,
            tables,
            GaugeMetricFamily("store_disk_bytes", "Size of the disk that the store is on.", value=disk.total),
            GaugeMetricFamily("store_disk_free_bytes", "What is free on it.", value=disk.free),
        )

    def _size(self, path: str, known: dict[str, _Folder]) -> int:
        """Return the bytes of all files under a folder, and note the folders as they are."""
        try:
            folder = self._look(path)
        except FileNotFoundError:
            return 0
        known[path] = folder
        return folder.size + sum(self._size(inner, known) for inner in folder.folders)

    def _look(self, path: str) -> _Folder:
        changed_ns = os.stat(path).st_mtime_ns  # noqa: PTH116 - for each folder of the store, each minute
        before = self._known.get(path)
        if before is not None and before.changed_ns == changed_ns:
            return before
        size, folders = 0, []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_size
        is_settled = time.time() - changed_ns / 1e9 > SETTLED_SECONDS
        return _Folder(changed_ns if is_settled else -1, size, tuple(folders))


def _total(path: str, known: dict[str, _Folder]) -> int:
    folder = known.get(path)
    return folder.size + sum(_total(inner, known) for inner in folder.folders) if folder else 0
