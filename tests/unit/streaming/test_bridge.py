import asyncio
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from include.contracts import topics
from streaming import bridge
from streaming.backoff import Backoff
from streaming.bridge import Bridger
from streaming.bybit.parse import TICK, parse_reply
from streaming.metrics import Metrics
from streaming.product import ProductKey
from streaming.progress import ProgressRecord
from streaming.records import Origin
from streaming.uncounted import Recent, UncountedProduct
from tests.unit.streaming.bybit.frames import recent, reply, time_of

pytestmark = pytest.mark.unit


class Venue:
    """Answers one after another, the last one again and again; None is no answer."""

    def __init__(self, *answers: Recent | None):
        self.answers = list(answers)
        self.asked = 0

    async def trades(self, product_id: str) -> Recent | None:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def newest(*ids: int) -> Recent:
    """A reply that has these trades, the newest first."""
    return Recent(parse_reply(reply(*map(recent, ids)), "BTCUSDT").trades)


@asynccontextmanager
async def looking_into(product, came, venue, kafka):
    """A bridger that looks into the product's breaks; gives its metrics."""
    metrics, origin = Metrics("bybit"), Origin("bybit", "linear")
    task = asyncio.create_task(Bridger(product, venue, kafka, metrics, origin, topics.BYBIT_TRADES, came).run())
    try:
        yield metrics
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def broken(*connections: tuple[int, ...]) -> tuple[UncountedProduct, asyncio.Event]:
    """A product with the trades of several connections, and what says that it has breaks."""
    came = asyncio.Event()
    product = UncountedProduct(ProductKey("bybit", "linear", "BTCUSDT"), TICK, break_came=came.set)
    for ids in connections:
        product.lost("cut")
        for number in ids:
            product.trade(f"a9188a0a-{number}", time_of(number)).settle()
    return product, came


async def bridged(venue, kafka, *connections: tuple[int, ...]) -> tuple[UncountedProduct, Metrics]:
    """Look into the breaks between connections until all have ended."""
    product, came = broken(*(connections or ((1, 2), (9, 10))))
    async with looking_into(product, came, venue, kafka) as metrics:
        await until(lambda: product.next_break() is None)
    return product, metrics


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(bridge, "Backoff", lambda *_: Backoff(0.001, 0.001))


def covered(product: UncountedProduct) -> list[tuple[datetime, datetime]]:
    """Publish until there is nothing to say."""
    told: list[ProgressRecord] = []
    while news := product.news():
        product.published(news)
        told.append(news)
    return [(news.covered_from, news.closed_through) for news in told]


def ended(metrics: Metrics) -> dict[str, float]:
    return {
        kind: metrics.registry.get_sample_value("ingestion_breaks_total", {"venue": "bybit", "outcome": kind})
        for kind in ("bridged", "unprovable")
    }


async def test_what_the_feed_missed_is_sent_as_from_rest_and_the_product_is_covered_on(kafka):
    product, metrics = await bridged(Venue(newest(10, 9, 5, 4, 2, 1)), kafka)

    sent = [record for record in kafka.records if record.topic == "bybit.raw.trades"]
    assert [(record.key, record.value) for record in sent] == [("BTCUSDT", recent(4)), ("BTCUSDT", recent(5))]
    headers = dict(sent[0].headers)
    assert (headers["source"], headers["market"], headers["frame_index"]) == (b"rest", b"linear", b"2")
    [event] = kafka.events()
    assert (event["kind"], event["product_id"], event["unprovable_from"]) == ("bridged", "BTCUSDT", None)
    assert event["reason"] == (
        "cut; all trades from 2026-11-20T09:00:02.000000Z to 2026-11-20T09:00:09.001000Z are here, 2 of them fetched"
    )
    assert covered(product)[-1] == (time_of(1) + TICK, time_of(10))
    assert ended(metrics) == {"bridged": 1, "unprovable": 0}


async def test_trades_that_do_not_reach_back_are_sent_and_the_time_is_told_as_unprovable(kafka):
    product, metrics = await bridged(Venue(newest(10, 9, 5)), kafka)

    assert kafka.values("bybit.raw.trades") == [recent(5)]
    [event] = kafka.events()
    assert event | {"at": ""} == {
        "kind": "unprovable",
        "venue": "bybit",
        "market": "linear",
        "product_id": "BTCUSDT",
        "reason": "cut; the venue's newest trades do not reach back to the last one before it",
        "first_missing_id": None,
        "last_missing_id": None,
        "state": None,
        "unprovable_from": "2026-11-20T09:00:02.000000Z",
        "unprovable_until": "2026-11-20T09:00:09.001000Z",
        "at": "",
    }
    assert covered(product)[-1] == (time_of(9) + TICK, time_of(10))
    assert ended(metrics) == {"bridged": 0, "unprovable": 1}


async def test_a_venue_that_does_not_answer_or_is_behind_its_feed_is_asked_again(kafka):
    venue = Venue(None, newest(2, 1), newest(9, 4, 2, 1))
    product, _ = await bridged(venue, kafka)

    assert venue.asked == 3
    assert kafka.values("bybit.raw.trades") == [recent(4)]
    assert covered(product)[-1][0] == time_of(1) + TICK


@pytest.mark.parametrize("answer", [None, newest(2, 1)], ids=["silent", "behind"])
async def test_a_venue_that_gives_nothing_new_for_long_leaves_the_time_unprovable(kafka, monkeypatch, answer):
    monkeypatch.setattr(bridge, "PATIENCE_SECONDS", 0.05)
    await bridged(Venue(answer), kafka)

    [event] = kafka.events()
    assert (event["kind"], event["reason"]) == (
        "unprovable",
        "cut; the venue's newest trades did not go as far as the feed within 20 s",
    )
    assert kafka.values("bybit.raw.trades") == []


async def test_a_venue_that_hangs_is_not_waited_for_longer(kafka, monkeypatch):
    monkeypatch.setattr(bridge, "PATIENCE_SECONDS", 0.05)

    class Hanging(Venue):
        async def trades(self, product_id):
            await asyncio.sleep(timedelta(hours=1).total_seconds())

    await bridged(Hanging(), kafka)

    assert [event["kind"] for event in kafka.events()] == ["unprovable"]


async def test_one_answer_serves_all_breaks_that_it_goes_far_enough_for(kafka):
    venue = Venue(newest(20, 15, 10, 9, 4, 2, 1))

    await bridged(venue, kafka, (1, 2), (9, 10), (20,))

    assert venue.asked == 1
    assert kafka.values("bybit.raw.trades") == [recent(4), recent(15)]
    assert [event["kind"] for event in kafka.events()] == ["bridged", "bridged"]


async def test_no_progress_passes_a_break_before_kafka_has_acknowledged_what_was_fetched(kafka, monkeypatch):
    held, offer = [], kafka.offer

    def hold(record):
        if dict(record.headers).get("source") == b"rest":
            held.append(record.acknowledged)
            record.acknowledged = None
        return offer(record)

    monkeypatch.setattr(kafka, "offer", hold)
    product, came = broken((1, 2), (9, 10))
    async with looking_into(product, came, Venue(newest(9, 4, 2, 1)), kafka):
        await until(kafka.events)
        await asyncio.sleep(0.01)
        assert covered(product) == [(time_of(1) + TICK, time_of(2))]

        held.pop()()
        await until(lambda: product.next_break() is None)

    assert covered(product) == [(time_of(1) + TICK, time_of(10))]
