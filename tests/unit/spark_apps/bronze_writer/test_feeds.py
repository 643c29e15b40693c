import pytest

from include.contracts import TOPICS
from include.settings import Settings
from spark_apps.bronze_writer.job import feeds

pytestmark = pytest.mark.unit


def test_a_query_reads_the_topics_of_all_venues_that_fill_its_table():
    topics = {feed.table.name: feed.topics for feed in feeds(Settings())}

    assert topics["trades"] == ("coinbase.raw.trades", "bybit.raw.trades")
    assert topics["tickers"] == ("coinbase.raw.tickers", "bybit.raw.tickers")


def test_a_dead_letter_may_come_in_any_topic_that_fills_a_table():
    [letters] = [feed for feed in feeds(Settings()) if feed.table.name == "dead_letters"]

    assert set(letters.topics) == {topic.name for topic in TOPICS if topic.consumer_group}
