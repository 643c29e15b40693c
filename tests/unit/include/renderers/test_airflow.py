import pytest

from include.contracts import TABLES, gold
from include.renderers.airflow import asset

pytestmark = pytest.mark.unit


def test_an_asset_is_named_as_its_table():
    rendered = asset(gold.OHLCV_1M)

    assert (rendered.name, rendered.uri, rendered.group) == ("gold.ohlcv_1m", "lake://gold/ohlcv_1m", "gold")
    assert rendered.extra["owner"] == "market-data"


def test_no_two_tables_share_an_asset():
    assert len({asset(table).uri for table in TABLES}) == len(TABLES)
