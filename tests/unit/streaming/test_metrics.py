from datetime import UTC, datetime, timedelta

import pytest

from streaming.metrics import Metrics
from streaming.product import ProductKey
from streaming.uncounted import UncountedProduct

pytestmark = pytest.mark.unit

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)


def test_products_of_one_name_in_two_markets_are_told_apart():
    metrics = Metrics("bybit")
    products = [
        UncountedProduct(ProductKey("bybit", market, "BTCUSDT"), timedelta(milliseconds=1))
        for market in ("linear", "spot")
    ]
    for second, product in enumerate(products):
        product.trade("7", NINE + timedelta(seconds=second)).settle()

    metrics.watch(products)

    [closed] = [family for family in metrics.collect() if family.name == "ingestion_closed_through_seconds"]
    assert [(sample.labels["market"], sample.value) for sample in closed.samples] == [
        ("linear", NINE.timestamp()),
        ("spot", NINE.timestamp() + 1),
    ]
