import pytest

from include.contracts import TABLES, TOPICS, gold, topics
from include.renderers.airflow import asset, topic_asset

pytestmark = pytest.mark.unit


def test_an_asset_is_named_as_its_table():
    rendered = asset(gold.OHLCV_1M)

    assert (rendered.name, rendered.uri, rendered.group) == ("gold.ohlcv_1m", "lake://gold/ohlcv_1m", "gold")
    assert rendered.extra["owner"] == "market-data"
    assert (rendered.extra["freshness"], rendered.extra["retention"]) == ("2 hours", "ever")


def test_an_asset_of_a_topic_says_where_its_records_are_and_how_long():
    rendered = topic_asset(topics.COINBASE_TRADES)

    assert (rendered.name, rendered.uri, rendered.group) == (
        "coinbase.raw.trades",
        "kafka://lake/coinbase.raw.trades",
        "kafka",
    )
    assert rendered.extra["retention"] == "7 days"


def test_no_two_tables_share_an_asset():
    assert len({asset(table).uri for table in TABLES}) == len(TABLES)


def test_no_two_topics_share_an_asset():
    assert len({topic_asset(topic).uri for topic in TOPICS}) == len(TOPICS)
