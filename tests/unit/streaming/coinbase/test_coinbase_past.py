"""History from before what is there: one trade a minute, of which the producer has those from SIX on."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from include.settings import CHECKOUT
from streaming import repair
from streaming.backoff import Backoff
from streaming.coinbase.past import Covered, Past, covered, first_since, hour
from streaming.history import HistoryCursor
from streaming.metrics import Metrics
from streaming.product import ProductKey
from streaming.progress import ProgressRecord
from streaming.repair import HistoricTrade, UnknownProductError
from tests.drivers.waiting import eventually

pytestmark = pytest.mark.unit

SIX = datetime(2026, 11, 20, 6, tzinfo=UTC)
FOUR, FIVE, NOON = SIX - timedelta(hours=2), SIX - timedelta(hours=1), SIX + timedelta(hours=6)
KEY = ProductKey("coinbase", "spot", "BTC-USD")
PAST = "coinbase/spot/BTC-USD/past"
FIRST_OF_SIX, NEWEST = 1000, 1360


def time_of(trade_id: int) -> datetime:
    return SIX + timedelta(minutes=trade_id - FIRST_OF_SIX)


class Archive:
    """A venue's history in memory, which falls silent after so many answers."""

    page_size = 10

    def __init__(self, ids=range(1, NEWEST + 1), answers=None):
        self.ids = sorted(ids, reverse=True)
        self.answers = answers
        self.asked = []

    async def trades(self, product_id, *, below, limit):
        if len(self.asked) == self.answers:
            await asyncio.Event().wait()
        self.asked.append((below, limit))
        page = [trade_id for trade_id in self.ids if below is None or trade_id < below][:limit]
        return [HistoricTrade(trade_id, time_of(trade_id), b"%d" % trade_id) for trade_id in page]


class NoArchive:
    page_size = 10

    async def trades(self, product_id, *, below, limit):
        raise UnknownProductError(f"the exchange has no history of {product_id}")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(repair, "Backoff", lambda first, longest: Backoff(0.001, 0.001))


async def fetch(archive, kafka, there: Covered, since: datetime) -> None:
    await Past(archive, kafka, Metrics("coinbase")).fetch(KEY, there, since)


def sent(kafka) -> list[int]:
    return [int(value) for value in kafka.values("coinbase.raw.trades")]


def vouched(kafka) -> list[tuple]:
    """Key, begin, end and last id of what was vouched for."""
    records = [record for record in kafka.records if record.topic == "ingestion.progress"]
    told = [(record.key, msgspec.json.decode(record.value, type=ProgressRecord)) for record in records]
    return [(key, one.covered_from, one.closed_through, one.last_trade_id) for key, one in told]


def cursors(kafka) -> list[HistoryCursor]:
    return [msgspec.json.decode(value, type=HistoryCursor) for value in kafka.values("ingestion.history")]


def followed(since: datetime = SIX) -> ProgressRecord:
    return ProgressRecord(KEY.venue, KEY.market, KEY.product_id, since, NOON, NEWEST)


def cursor(*, below: int, newest: datetime, since: datetime | None = None, holes=()) -> HistoryCursor:
    return HistoryCursor(KEY.venue, KEY.market, KEY.product_id, 1100, below, newest, holes, since)


async def test_what_lies_before_is_fetched_marked_as_history_and_vouched_for(kafka):
    await fetch(Archive(), kafka, Covered(SIX, None, None), FIVE)

    assert set(range(940, 1000)) <= set(sent(kafka))
    assert min(sent(kafka)) == 940
    assert max(sent(kafka)) < FIRST_OF_SIX + Archive.page_size
    first = next(record for record in kafka.records if record.topic == "coinbase.raw.trades")
    assert (first.key, dict(first.headers)["source"]) == ("BTC-USD", b"rest")
    newest = max(sent(kafka))
    assert vouched(kafka) == [(PAST, FIVE, time_of(newest), newest)]


async def test_it_says_how_much_of_what_was_missing_is_there_and_how_long_the_rest_takes(kafka, monkeypatch, caplog):
    monkeypatch.setattr(repair, "LOG_SECONDS", 0)
    caplog.set_level("INFO", logger="streaming.repair")

    await fetch(Archive(), kafka, Covered(SIX, None, None), FIVE)

    said = [record for record in caplog.records if record.message == "history goes on"]
    assert [record.percent for record in said] == sorted({record.percent for record in said})
    assert [record.trades for record in said] == [10 * (number + 1) for number in range(len(said))]
    assert 0 <= said[0].percent < 50
    assert said[-1].percent == 100
    assert all(record.seconds_left >= 0 for record in said)


async def test_it_is_vouched_for_after_every_trade(kafka):
    await fetch(Archive(), kafka, Covered(SIX, None, None), FIVE)

    last = [record.topic for record in kafka.records if record.topic != "ingestion.history"][-1]
    assert last == "ingestion.progress"


async def test_killed_it_goes_on_where_its_pages_had_arrived(kafka):
    whole = Archive()
    await fetch(whole, kafka, Covered(SIX, None, None), FOUR)
    everything = set(sent(kafka))
    for answers in range(1, len(whole.asked)):
        kafka.records.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await fetch(Archive(answers=answers), kafka, Covered(SIX, None, None), FOUR)
        assert vouched(kafka) == []
        left = cursors(kafka)
        before, again = set(sent(kafka)), Archive()

        await fetch(again, kafka, covered(followed(), None, left[-1] if left else None), FOUR)

        assert before | set(sent(kafka)) == everything
        assert vouched(kafka)[-1][:2] == (PAST, FOUR)
        if left:
            assert again.asked[1] == (left[-1].below, Archive.page_size)


async def test_what_is_there_already_is_not_asked_for(kafka):
    archive = Archive()

    await fetch(archive, kafka, Covered(FIVE, None, None), FIVE)

    assert (archive.asked, kafka.records) == ([], [])


async def test_a_second_fetch_goes_further_back_and_vouches_for_both(kafka):
    await fetch(Archive(), kafka, Covered(SIX, None, None), FIVE)
    [(_, *first)] = vouched(kafka)
    past = ProgressRecord(KEY.venue, KEY.market, KEY.product_id, *first)
    there = covered(followed(), past, cursors(kafka)[-1])
    kafka.records.clear()

    await fetch(Archive(), kafka, there, FOUR)

    assert set(range(880, 940)) <= set(sent(kafka)) <= set(range(880, 960))
    assert vouched(kafka) == [(PAST, FOUR, *first[1:])]


async def test_ids_that_the_history_leaves_out_are_told_before_it_is_vouched_for(kafka):
    await fetch(Archive({*range(1, NEWEST)} - {970, 971}), kafka, Covered(SIX, None, None), FIVE)

    told = [(gap["state"], gap["first_missing_id"], gap["last_missing_id"]) for gap in kafka.events()]
    assert told == [("open", 970, 971), ("unavailable", 970, 971)]
    assert kafka.records[-1].topic == "ingestion.progress"


async def test_a_history_that_begins_later_is_vouched_for_as_all_that_can_be_had(kafka):
    await fetch(Archive(range(980, NEWEST)), kafka, Covered(SIX, None, None), FIVE)

    assert min(sent(kafka)) == 980
    assert [event["kind"] for event in kafka.events()] == ["history"]
    assert vouched(kafka)[0][:2] == (PAST, FIVE)


async def test_a_product_that_never_traded_is_vouched_for_without_an_id(kafka):
    await fetch(Archive(()), kafka, Covered(SIX, None, None), FIVE)

    assert vouched(kafka) == [(PAST, FIVE, SIX, None)]


async def test_a_product_that_traded_before_only_is_closed_through_where_it_is_followed_from(kafka):
    await fetch(Archive(range(1, 980)), kafka, Covered(SIX, None, None), FIVE)

    assert sent(kafka) == list(range(979, 939, -1))
    assert vouched(kafka) == [(PAST, FIVE, SIX, 979)]


async def test_a_product_that_the_venue_does_not_know_is_not_vouched_for(kafka):
    await fetch(NoArchive(), kafka, Covered(SIX, None, None), FIVE)

    assert kafka.records == []


async def test_the_boundary_is_found_in_few_questions():
    for newest, questions in ((FIRST_OF_SIX, 1), (FIRST_OF_SIX + 300, 12), (10**5, 25)):
        archive = Archive(set(range(1, newest + 1)) - set(range(700, 995)))

        found = await first_since(archive, "BTC-USD", SIX, HistoricTrade(newest, time_of(newest), b""))

        assert FIRST_OF_SIX <= found.trade_id < FIRST_OF_SIX + archive.page_size
        assert len(archive.asked) <= questions


def test_what_a_producers_first_history_left_is_gone_on_with_and_its_holes_are_settled():
    left = cursor(below=1005, newest=SIX + timedelta(hours=2), since=SIX, holes=((1010, 1012),))

    there = covered(followed(), None, left)

    assert there == Covered(SIX, None, msgspec.structs.replace(left, holes=()))


def test_what_an_unfinished_fetch_left_is_gone_on_with_and_its_holes_are_looked_for():
    left = cursor(below=950, newest=SIX, since=FOUR, holes=((970, 971),))

    assert covered(followed(), None, left) == Covered(SIX, None, left)


def test_a_cursor_from_before_what_the_producer_follows_now_is_of_no_use():
    left = cursor(below=950, newest=FIVE, since=FOUR)

    assert covered(followed(), None, left) == Covered(SIX, None, None)


def test_history_that_does_not_reach_what_the_producer_follows_now_does_not_count():
    past = ProgressRecord(KEY.venue, KEY.market, KEY.product_id, FOUR, FIVE, 950)

    assert covered(followed(), past, None) == Covered(SIX, None, None)


def test_an_hour_is_read_as_airflow_writes_it():
    assert hour("2026-11-20T06") == SIX
    with pytest.raises(argparse.ArgumentTypeError, match="is not an hour like 2026-11-20T03"):
        hour("2026-11-20")


def test_what_is_attended_ends_with_who_waits_for_it(tmp_path):
    command = [sys.executable, "-m", "streaming.coinbase.past", "2026-11-20T03", "--attended"]
    # A port at which no broker is: it is waited for, for a minute.
    environment = os.environ | {"LAKE_STATE_DIR": str(tmp_path), "LAKE_KAFKA__PORT": "1"}
    lease = tmp_path / "leases" / "past-coinbase.lock"
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        eventually(lambda: lease.exists() and lease.read_text(), within=30, what="it to begin", every=0.1)
        assert process.poll() is None

        process.stdin.close()

        assert process.wait(10) == -signal.SIGTERM
