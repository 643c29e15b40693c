import os
from pathlib import Path

import pytest

from stack.metrics.store import Store

pytestmark = pytest.mark.unit

LONG_AGO = 1_700_000_000


def put(root: Path, key: str, size: int) -> Path:
    path = root / "lake" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def told(store: Store) -> dict[str, dict[str, float]]:
    return {
        family.name: {next(iter(sample.labels.values()), ""): sample.value for sample in family.samples}
        for family in store.read()
    }


def settle(root: Path) -> None:
    """Let all folders look as if nothing had happened in them for long."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, (LONG_AGO, LONG_AGO))


def test_bytes_are_told_by_bucket_and_table(tmp_path: Path):
    put(tmp_path, "warehouse/bronze/trades_0bad/data/_ingested_at_day=2026-11-20/a.parquet", 100)
    put(tmp_path, "warehouse/bronze/trades_0bad/metadata/1.json", 10)
    put(tmp_path, "warehouse/gold/ohlcv_1m_cafe/data/b.parquet", 7)
    put(tmp_path, "elsewhere", 1)

    families = told(Store(tmp_path, "lake"))

    assert families["store_bucket_bytes"] == {"lake": 118}
    assert families["store_table_bytes"] == {"bronze.trades": 110, "gold.ohlcv_1m": 7}
    assert 0 < families["store_disk_free_bytes"][""] < families["store_disk_bytes"][""]


def test_objects_that_come_and_go_are_seen(tmp_path: Path):
    day = put(tmp_path, "warehouse/bronze/trades_0bad/data/day=1/a.parquet", 100).parent
    store = Store(tmp_path, "lake")
    settle(tmp_path)
    store.read()

    (day / "b.parquet").write_bytes(b"x" * 50)
    (day / "a.parquet").unlink()
    put(tmp_path, "warehouse/bronze/trades_0bad/data/day=2/c.parquet", 5)

    assert told(store)["store_table_bytes"] == {"bronze.trades": 55}


def test_a_folder_in_which_nothing_happened_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for day in range(30):
        put(tmp_path, f"warehouse/bronze/trades_0bad/data/day={day}/a.parquet", 1)
    store = Store(tmp_path, "lake")
    settle(tmp_path)
    store.read()
    put(tmp_path, "warehouse/bronze/trades_0bad/data/day=29/b.parquet", 1)
    read: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: read.append(Path(path).name) or scandir(path))

    assert told(store)["store_table_bytes"] == {"bronze.trades": 31}
    assert [name for name in read if name.startswith("day=")] == ["day=29"]


def test_a_folder_that_has_just_changed_is_read_again(tmp_path: Path):
    path = put(tmp_path, "warehouse/bronze/trades_0bad/data/a.parquet", 1)
    store = Store(tmp_path, "lake")
    store.read()
    changed = path.parent.stat().st_mtime_ns

    (path.parent / "b.parquet").write_bytes(b"xx")
    os.utime(path.parent, ns=(changed, changed))

    assert told(store)["store_table_bytes"] == {"bronze.trades": 3}
