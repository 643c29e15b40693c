import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from include.contracts.topics import COINBASE_TRADES
from streaming import repair
from streaming.backoff import Backoff
from streaming.history import HistoryCursor
from streaming.metrics import Metrics
from streaming.product import Product, ProductKey
from streaming.progress import ProgressRecord
from streaming.records import Origin
from streaming.repair import HistoricTrade, Repairer, UnknownProductError

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 20, 6, tzinfo=UTC)


def time_of(trade_id: int) -> datetime:
    """One trade a minute; trade 0 was an hour before the start."""
    return START + timedelta(minutes=trade_id - 60)


class Archive:
    """A venue's history in memory."""

    page_size = 10

    def __init__(self, *ids: range):
        self.ids = [trade_id for part in ids for trade_id in part]
        self.asked = []
        self.answers = None
        """After so many it is silent; None if it never is."""

    async def trades(self, product_id, *, below, limit):
        if len(self.asked) == self.answers:
            await asyncio.Event().wait()
        self.asked.append((below, limit))
        page = [trade_id for trade_id in sorted(self.ids, reverse=True) if below is None or trade_id < below][:limit]
        return [HistoricTrade(trade_id, time_of(trade_id), b"%d" % trade_id) for trade_id in page]


class NoArchive:
    page_size = 10

    async def trades(self, product_id, *, below, limit):
        raise UnknownProductError(f"the exchange has no history of {product_id}")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(repair, "GRACE_SECONDS", 0)
    monkeypatch.setattr(repair, "PATIENCE_SECONDS", 1)
    monkeypatch.setattr(repair, "Backoff", lambda first, longest: Backoff(0.001, 0.001))


@asynccontextmanager
async def repairing(archive, kafka, *, last_trade_id=None, cursor=None):
    """A product with its repairer at work; it had progress if it knows a last trade, or a history begun."""
    work_came = asyncio.Event()
    stored = last_trade_id and ProgressRecord(
        "coinbase", "spot", "BTC-USD", START, time_of(last_trade_id), last_trade_id
    )
    key = ProductKey("coinbase", "spot", "BTC-USD")
    product = Product(key, START, stored or None, cursor, work_came=work_came.set)
    repairer = Repairer(
        product, archive, kafka, Metrics("coinbase"), Origin("coinbase", "spot"), COINBASE_TRADES, work_came
    )
    task = asyncio.create_task(repairer.run())
    yield product
    task.cancel()


async def closed(product: Product, trade_id: int) -> None:
    """Wait until the product is closed through a trade."""
    async with asyncio.timeout(5):
        while product.news() is None or product.news().last_trade_id != trade_id:
            await asyncio.sleep(0.001)


def sent(kafka) -> list[int]:
    return [int(value) for value in kafka.values("coinbase.raw.trades")]


def states(kafka) -> list[tuple]:
    return [(e["state"], e["first_missing_id"], e["last_missing_id"]) for e in kafka.events() if e["kind"] == "gap"]


async def test_history_is_fetched_back_to_a_trade_older_than_the_start(kafka):
    async with repairing(Archive(range(0, 100)), kafka) as product:
        product.trade(100, time_of(100)).settle()
        await closed(product, 100)

    assert sent(kafka) == list(range(99, 59, -1))
    assert kafka.events() == []


async def test_a_history_that_was_cut_off_goes_on_where_its_pages_had_arrived(kafka):
    first, second = Archive(range(0, 85), range(90, 101)), Archive(range(0, 85), range(90, 105))
    first.answers = 3
    async with repairing(first, kafka) as product:
        product.trade(100, time_of(100)).settle()
        async with asyncio.timeout(5):
            while len(kafka.values("ingestion.history")) < 2:
                await asyncio.sleep(0.001)
        product.trade(101, time_of(101)).settle()
    cursor = msgspec.json.decode(kafka.values("ingestion.history")[-1], type=HistoryCursor)
    before = len(kafka.records)

    async with repairing(second, kafka, cursor=cursor) as product:
        product.trade(104, time_of(104)).settle()
        await closed(product, 104)

    assert (cursor.top, cursor.below, cursor.holes) == (100, 75, ((85, 89),))
    assert second.asked[0] == (75, 10)
    assert sent(kafka)[:25] == [*range(99, 89, -1), *range(84, 69, -1)]
    again = [int(record.value) for record in kafka.records[before:] if record.topic == "coinbase.raw.trades"]
    assert sorted(again) == [*range(60, 75), *range(100, 104)]
    assert {("unavailable", 85, 89), ("repaired", 100, 103)} <= set(states(kafka))


async def test_history_is_marked_as_such(kafka):
    async with repairing(Archive(range(98, 100)), kafka) as product:
        product.trade(100, time_of(100)).settle()
        await closed(product, 100)

    assert {(record.key, dict(record.headers)["source"]) for record in kafka.records[:2]} == {("BTC-USD", b"rest")}


async def test_history_that_begins_after_the_start_is_taken_as_it_is(kafka):
    async with repairing(Archive(range(90, 100)), kafka) as product:
        product.trade(100, time_of(100)).settle()
        await closed(product, 100)

    assert sent(kafka) == list(range(99, 89, -1))
    assert [event["kind"] for event in kafka.events()] == ["history"]


async def test_ids_that_the_history_leaves_out_are_unavailable(kafka):
    async with repairing(Archive(range(50, 70), range(80, 101)), kafka) as product:
        product.trade(100, time_of(100)).settle()
        await closed(product, 100)

    assert sent(kafka) == [*range(99, 79, -1), *range(69, 59, -1)]
    assert states(kafka) == [("open", 70, 79), ("unavailable", 70, 79)]


async def test_a_product_without_any_trade_has_no_history(kafka):
    async with repairing(Archive(), kafka) as product:
        product.heartbeat(0, time_of(100))
        await closed(product, None)

    assert sent(kafka) == []


async def test_a_gap_is_fetched_in_pages_of_just_its_ids(kafka):
    archive = Archive(range(0, 200))
    async with repairing(archive, kafka, last_trade_id=100) as product:
        product.trade(115, time_of(115)).settle()
        await closed(product, 115)

    assert sent(kafka) == list(range(114, 100, -1))
    assert archive.asked == [(115, 10), (105, 5)]
    assert states(kafka) == [("open", 101, 114), ("repaired", 101, 114)]


async def test_a_trade_that_the_history_shows_late_is_waited_for(kafka):
    archive = Archive(range(0, 102))
    async with repairing(archive, kafka, last_trade_id=100) as product:
        product.trade(103, time_of(103)).settle()
        while not kafka.values("coinbase.raw.trades"):
            await asyncio.sleep(0.001)
        archive.ids += [102, 103]
        await closed(product, 103)

    assert sent(kafka) == [101, 102]
    assert states(kafka) == [("open", 101, 102), ("repaired", 101, 102)]


async def test_only_what_the_history_does_not_have_is_unavailable(kafka):
    async with repairing(Archive(range(0, 103), range(104, 110)), kafka, last_trade_id=100) as product:
        product.trade(105, time_of(105)).settle()
        await closed(product, 105)

    assert sent(kafka) == [104, 102, 101]
    assert states(kafka) == [
        ("open", 101, 104),
        ("repaired", 101, 102),
        ("unavailable", 103, 103),
        ("repaired", 104, 104),
    ]


async def test_a_history_that_never_reaches_the_gap_is_not_waited_for_for_ever(kafka):
    async with repairing(Archive(range(0, 101)), kafka, last_trade_id=100) as product:
        product.trade(105, time_of(105)).settle()
        await closed(product, 105)

    assert states(kafka) == [("open", 101, 104), ("unavailable", 101, 104)]
    assert "did not reach" in kafka.events()[-1]["reason"]


async def test_a_gap_of_a_product_without_history_is_unavailable(kafka):
    async with repairing(NoArchive(), kafka, last_trade_id=100) as product:
        product.trade(105, time_of(105)).settle()
        await closed(product, 105)

    assert states(kafka) == [("open", 101, 104), ("unavailable", 101, 104)]


async def test_a_gap_that_fills_itself_is_no_event(kafka):
    async with repairing(Archive(), kafka, last_trade_id=100) as product:
        product.trade(102, time_of(102)).settle()
        product.trade(101, time_of(101)).settle()
        await closed(product, 102)

    assert kafka.events() == []
