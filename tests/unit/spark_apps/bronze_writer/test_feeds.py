from collections import Counter

import pytest

from include.contracts import TOPICS
from include.settings import Settings
from spark_apps.bronze_writer.job import feeds

pytestmark = pytest.mark.unit


def test_a_query_reads_the_topics_of_all_venues_that_fill_its_table():
    topics = {feed.table.name: feed.topics for feed in feeds(Settings())}

    assert topics["trades"] == ("coinbase.raw.trades", "bybit.raw.trades")
    assert topics["tickers"] == ("coinbase.raw.tickers", "bybit.raw.tickers")


def test_what_no_hour_waits_for_is_committed_less_often():
    settings = Settings()
    quiet = {feed.table.name for feed in feeds(settings) if feed.every == settings.bronze_quiet_interval}

    assert quiet == {"tickers", "prices", "exchange_status"}


def test_every_topic_that_bronze_reads_is_read_once():
    read = Counter(topic for feed in feeds(Settings()) for topic in feed.topics)

    assert read == dict.fromkeys((topic.name for topic in TOPICS if topic.consumer_group), 1)
