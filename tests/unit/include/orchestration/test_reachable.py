"""What is reached, on real tables of Iceberg: every file of a folder is needed, or is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from include.orchestration.nessie import Commit, Content, Reference
from include.orchestration.reachable import Reached
from include.orchestration.sweeping import StoredFile, unreachable

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Commits:
    """A catalog's history as Nessie tells it: which metadata file of the table each commit holds, oldest first."""

    heads: dict[str, str]
    line: list[str] = field(default_factory=list)
    name: str = "silver.trades"

    def references(self) -> list[Reference]:
        return [Reference(name, "BRANCH", location) for name, location in self.heads.items()]

    def contents(self, at: str) -> Iterator[Content]:
        yield Content(self.name, "ICEBERG_TABLE", at, None)

    def history(self, branch: str, *, with_contents: bool) -> Iterator[Commit]:
        assert with_contents
        for age, at in enumerate(reversed(self.line)):
            yield Commit(at, "", NOON - timedelta(days=age), {}, tuple(self.contents(at)))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("silver")
    yield catalog.create_table("silver.trades", pa.schema([("id", pa.int64())]))
    catalog.close()


def write(table: Table, number: int, *, over: bool = False) -> str:
    """Commit one row, in place of all others or beside them; return the new metadata file."""
    rows = pa.table({"id": pa.array([number], pa.int64())})
    (table.overwrite if over else table.append)(rows)
    return table.metadata_location


def expire_all_but_the_newest(table: Table) -> str:
    """Forget the past in the metadata; its files stay."""
    current = table.current_snapshot()
    assert current is not None
    old = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id != current.snapshot_id]
    table.maintenance.expire_snapshots().by_ids(old).commit()
    return table.metadata_location


def files(table: Table) -> set[str]:
    folder = Path(table.location().removeprefix("file://"))
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def reached(commits: Commits, since: datetime | None = None) -> set[str]:
    found = Reached(PyArrowFileIO())
    if since is not None:
        found.add_past(commits, "main", since)  # type: ignore[arg-type]
    found.add_references(commits)  # type: ignore[arg-type]
    return found.files


def data_files(table: Table) -> set[str]:
    return {path for path in files(table) if path.endswith(".parquet")}


def test_what_a_head_has_in_any_snapshot_is_needed(table: Table):
    write(table, 1)
    head = write(table, 2, over=True)

    assert data_files(table) <= reached(Commits({"main": head}))


def test_what_is_in_no_snapshot_of_a_head_is_not(table: Table):
    write(table, 1)
    write(table, 2, over=True)
    head = expire_all_but_the_newest(table)

    assert len(data_files(table)) == 2
    assert len(data_files(table) & reached(Commits({"main": head}))) == 1


def test_what_a_tag_needs_stays_when_main_has_forgotten_it(table: Table):
    tagged = write(table, 1)
    write(table, 2, over=True)
    head = expire_all_but_the_newest(table)

    assert data_files(table) <= reached(Commits({"main": head, "day-2026-11-20": tagged}))
    assert tagged.removeprefix("file://") in reached(Commits({"main": head, "day-2026-11-20": tagged}))


def test_the_past_is_needed_for_as_long_as_it_was_promised(table: Table):
    line = [write(table, 1), write(table, 2, over=True)]
    head = expire_all_but_the_newest(table)
    commits = Commits({"main": head}, [*line, head])

    # The commit before the moment is what was current at it.
    assert data_files(table) <= reached(commits, since=NOON - timedelta(days=1, hours=1))
    assert len(data_files(table) & reached(commits, since=NOON - timedelta(hours=1))) == 1


def test_of_a_streamed_table_the_past_is_not_promised(table: Table):
    line = [write(table, 1), write(table, 2, over=True)]
    head = expire_all_but_the_newest(table)

    found = reached(Commits({"main": head}, [*line, head], name="bronze.trades"), since=NOON - timedelta(days=9))

    assert len(data_files(table) & found) == 1


def test_a_branch_that_cannot_be_read_lets_nothing_be_deleted(table: Table):
    head = write(table, 1)
    Path(head.removeprefix("file://")).unlink()

    with pytest.raises(FileNotFoundError):
        reached(Commits({"main": head}))


def test_a_past_that_cannot_be_read_is_no_reason_to_stop(table: Table):
    lost = write(table, 1)
    head = write(table, 2)
    Path(lost.removeprefix("file://")).unlink()

    assert data_files(table) <= reached(Commits({"main": head}, [lost, head]), since=NOON - timedelta(days=9))


def test_a_file_that_nothing_reaches_goes_when_it_is_old():
    there = [
        StoredFile("lake/warehouse/needed.parquet", 1, NOON - timedelta(days=9)),
        StoredFile("lake/warehouse/lost.parquet", 1, NOON - timedelta(days=9)),
        StoredFile("lake/warehouse/being-written.parquet", 1, NOON - timedelta(days=2)),
    ]

    gone = unreachable(there, {"lake/warehouse/needed.parquet"}, NOON - timedelta(days=3))

    assert [file.path for file in gone] == ["lake/warehouse/lost.parquet"]
