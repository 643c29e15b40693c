"""Pages of what a gate found: a folder an hour and layer, with what is common to all of them once."""

import os
from pathlib import Path

import pytest

from include.contracts import gold
from include.quality import data_docs
from include.quality.judgement import Verdict, judge
from tests.unit.include.quality.rows import frame

pytestmark = pytest.mark.unit


def judged(folder: Path) -> list[Verdict]:
    return judge([gold.PRICE_LATEST], [], {"gold_price_latest": frame(gold.PRICE_LATEST, {})}, folder)


def test_each_layer_of_an_hour_has_pages_that_share_what_does_not_change(tmp_path: Path):
    folders = [tmp_path / "2026-11-20T09" / layer for layer in ("silver", "gold")]

    for folder in folders:
        judged(folder)
        judged(folder)

    for folder in folders:
        assert "gold.price_latest" in (folder / "index.html").read_text()
        assert len(list(folder.rglob("validations/**/*.html"))) == 1, "an attempt takes the place of the one before"
        assert (folder / "static").is_symlink()
        assert list((folder / "static" / "styles").glob("*.css"))
    assert data_docs.hours(tmp_path) == [tmp_path / "2026-11-20T09"]


def test_only_hours_that_were_judged_last_keep_their_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data_docs, "KEPT_HOURS", 2)
    for age, key in enumerate(["2026-11-20T09", "2026-11-20T07", "2026-11-20T08"]):
        (tmp_path / key).mkdir()
        os.utime(tmp_path / key, (1000 - age, 1000 - age))

    judged(tmp_path / "2020-01-01T00" / "gold")

    assert [path.name for path in data_docs.hours(tmp_path)] == ["2026-11-20T09", "2020-01-01T00"]


def test_pages_that_cannot_be_written_change_no_verdict(tmp_path: Path):
    (tmp_path / "file").touch()

    assert judged(tmp_path / "file" / "gold" / "x") == judged(tmp_path / "2026-11-20T09" / "gold")
