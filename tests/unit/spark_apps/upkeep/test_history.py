from datetime import UTC, datetime, timedelta

import pytest

from spark_apps.upkeep.history import MetadataFile, Snapshot, deletable, expirable

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def line(*kinds: str) -> list[Snapshot]:
    """Make a line of snapshots a minute apart, the last at noon: `s` by a stream, `o` by another."""
    return [
        Snapshot(place, place - 1 if place else None, NOON - timedelta(minutes=len(kinds) - 1 - place), kind == "s")
        for place, kind in enumerate(kinds)
    ]


def test_old_snapshots_of_a_stream_go():
    assert expirable(line("s", "s", "s", "s"), current_id=3, before=NOON - timedelta(minutes=1)) == [0, 1]


def test_the_newest_snapshot_of_a_stream_stays_however_old():
    assert expirable(line("s", "s"), current_id=1, before=NOON + timedelta(days=9)) == [0]


def test_all_from_the_current_snapshot_back_to_the_streams_newest_stay():
    assert expirable(line("s", "s", "o", "o"), current_id=3, before=NOON + timedelta(days=9)) == [0]


def test_of_a_table_without_a_stream_the_current_snapshot_stays():
    assert expirable(line("o", "o", "o"), current_id=2, before=NOON + timedelta(days=9)) == [0, 1]


def test_a_history_that_was_cut_before_has_no_end_but_its_oldest_snapshot():
    assert expirable(line("s", "s", "s")[1:], current_id=2, before=NOON + timedelta(days=9)) == [1]


def test_an_empty_table_has_nothing_to_expire():
    assert expirable([], current_id=None, before=NOON) == []


def test_old_metadata_files_go_but_for_those_that_a_branch_points_to():
    old, older = NOON - timedelta(hours=3), NOON - timedelta(hours=4)
    files = [
        MetadataFile("s3://lake/t/metadata/1.gz.metadata.json", older),
        MetadataFile("s3://lake/t/metadata/2.gz.metadata.json", old),
        MetadataFile("s3://lake/t/metadata/3.gz.metadata.json", NOON),
        MetadataFile("s3://lake/t/metadata/snap-1.avro", older),
    ]

    gone = deletable(files, current={"s3://lake/t/metadata/2.gz.metadata.json"}, before=NOON - timedelta(hours=2))

    assert gone == ["s3://lake/t/metadata/1.gz.metadata.json"]
