"""What cannot be read of a reply of REST, on its way to the dead letters."""

import asyncio

import pytest

from include.settings import Settings
from streaming.bybit import rest as bybit
from streaming.bybit.parse import UnreadableTrade as BybitTrade
from streaming.coinbase import rest as coinbase
from streaming.coinbase.parse import UnreadableTrade as CoinbaseTrade
from streaming.drift import Difference, Drift
from streaming.metrics import Metrics
from streaming.records import Origin
from streaming.service import Service

pytestmark = pytest.mark.unit

REASON = "recent trade: Expected `str`, got `int` - at `$.price`"


def running(kafka, venue: str) -> Service:
    return Service(Settings(), kafka, Metrics(venue), asyncio.Event())


def told(kafka) -> tuple[str, bytes, dict[str, bytes]]:
    """Topic, value and headers of the one record, without the moment of its arrival."""
    [record] = kafka.records
    headers = dict(record.headers)
    assert headers.pop("received_at").isdigit()
    return record.topic, record.value, headers


async def test_a_letter_of_coinbase_says_which_product_was_asked_for(kafka):
    service = running(kafka, "coinbase")

    await coinbase.bury(service)("ETH-USD", CoinbaseTrade(b"{}", "no id"))

    assert told(kafka) == (
        "coinbase.dlq", b"{}", {"source": b"rest", "product_id": b"ETH-USD", "reason": b"no id"},
    )  # fmt: skip
    assert service.metrics.registry.get_sample_value("ingestion_dead_letters_total", {"venue": "coinbase"}) == 1


async def test_a_letter_of_bybit_says_its_market_and_a_field_of_another_type_is_noted(kafka):
    drift = Drift({})

    await bybit.bury(running(kafka, "bybit"), Origin("bybit", "spot"), drift)(BybitTrade(b"{}", REASON))

    assert told(kafka) == (
        "bybit.dlq", b"{}", {"source": b"rest", "market": b"spot", "reason": REASON.encode()},
    )  # fmt: skip
    assert drift.counts == {Difference("changed_type", "recent trade", "price", "str", "number"): 1}
