"""The sweep: deletes the files of the warehouse that no branch, tag or promised moment of the past reaches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from include.orchestration.lake import open_catalog
from include.orchestration.nessie import Nessie
from include.orchestration.reachable import Reached
from include.settings import Settings

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of the store.

    Args:
        path: `bucket/path`.
        size: Bytes.
    """

    path: str
    size: int
    written_at: datetime


def sweep(settings: Settings, nessie: Nessie, now: datetime) -> dict[str, int]:
    """Delete what nothing reaches and is old enough; return counts and bytes of what went and what stays.

    Files are listed first and references followed then, again and again until none is new: what a branch takes up
    meanwhile is reached, and what is written meanwhile is too young. Cut off anywhere, the rest goes the next time.

    Raises:
        FileNotFoundError: If a branch or tag points to what is not there; nothing is deleted then.
    """
    from pyiceberg.io import load_file_io

    store = _store(settings)
    there = list(_listing(store, settings.warehouse.partition("://")[2]))
    with open_catalog(settings, settings.branch) as catalog:
        reached = Reached(load_file_io(dict(catalog.properties), settings.warehouse))
    reached.add_past(nessie, settings.branch, now - settings.time_travel)
    while new := reached.add_references(nessie):
        log.info("followed %d branches and tags", new)
    unreached = unreachable(there, reached.files, now - settings.unreachable_kept)
    for file in unreached:
        log.info("deleting %s", file.path)
        store.delete_file(file.path)
    gone = sum(file.size for file in unreached)
    return {
        "files_deleted": len(unreached),
        "bytes_deleted": gone,
        "files_kept": len(there) - len(unreached),
        "bytes_kept": sum(file.size for file in there) - gone,
    }


def unreachable(files: Iterable[StoredFile], reached: Set[str], before: datetime) -> list[StoredFile]:
    """Return the files that nothing reaches and that were written before a moment."""
    return [file for file in files if file.path not in reached and file.written_at < before]


def _listing(store: FileSystem, folder: str) -> Iterable[StoredFile]:
    from pyarrow.fs import FileSelector, FileType

    for info in store.get_file_info(FileSelector(folder, recursive=True)):
        if info.type is FileType.File:
            yield StoredFile(info.path, info.size, info.mtime)


def _store(settings: Settings) -> FileSystem:
    from pyarrow.fs import S3FileSystem

    if settings.s3_access_key is None or settings.s3_secret_key is None:
        raise ValueError(f"no S3 keys in {settings.state_dir}; run `python -m stack init`")
    return S3FileSystem(
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        endpoint_override=settings.s3.url,
        region="us-east-1",
    )
