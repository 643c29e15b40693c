from __future__ import annotations

import msgspec
import pytest

from stack.replica.plan import Plan
from stack.replica.recordings import HOUR, MINUTE, SECOND
from tests.unit.stack.replica.market import FIVE, recording, trade

pytestmark = pytest.mark.unit

TRADES = "/coinbase/products/BTC-USD/trades"
CANDLES = "/coinbase/products/BTC-USD/candles"


def ids(page: list[dict]) -> list[int]:
    return [one["trade_id"] for one in page]


async def test_a_trade_is_written_as_the_exchange_does(open_exchange):
    trades = (
        trade(1, 982090, price="453.3", size="0.04"),
        trade(2, SECOND, price="0.0000000001", size="1787", side="sell"),
    )
    client = await open_exchange(recording(*trades), after=SECOND)

    async with client.http.get(TRADES) as page:
        assert await page.text() == (
            '[{"time":"2025-11-25T05:00:01Z","trade_id":2,'
            '"price":"0.0000000001","size":"1787.00000000","side":"sell"},'
            '{"time":"2025-11-25T05:00:00.98209Z","trade_id":1,'
            '"price":"453.30000000","size":"0.04000000","side":"buy"}]'
        )


async def test_cursors_lead_from_page_to_page(open_exchange):
    client = await open_exchange(recording(*(trade(n, n) for n in range(1, 8))), after=10)

    async with client.http.get(f"{TRADES}?limit=3") as newest:
        assert ids(await newest.json()) == [7, 6, 5]
        assert (newest.headers["cb-before"], newest.headers["cb-after"]) == ("7", "5")
    assert ids((await client.get(f"{TRADES}?limit=3&after=5"))[1]) == [4, 3, 2]
    assert ids((await client.get(f"{TRADES}?limit=3&before=2"))[1]) == [7, 6, 5]
    assert ids((await client.get(f"{TRADES}?limit=9&before=2&after=6"))[1]) == [5, 4, 3]


async def test_an_empty_page_has_no_cursors(open_exchange):
    client = await open_exchange(recording(trade(1)))

    async with client.http.get(f"{TRADES}?after=1") as empty:
        assert await empty.json() == []
        assert "cb-after" not in empty.headers


async def test_a_page_holds_a_thousand_trades_at_most(open_exchange):
    client = await open_exchange(recording(*(trade(n, n) for n in range(1, 1500))), after=HOUR - 1)

    assert len((await client.get(TRADES))[1]) == 1000
    assert len((await client.get(f"{TRADES}?limit=5000"))[1]) == 1000


async def test_trades_appear_when_they_happen(open_exchange):
    client = await open_exchange(recording(trade(1, 10), trade(2, 20)), after=9)

    assert ids((await client.get(TRADES))[1]) == []
    client.clock.advance(1)
    assert ids((await client.get(TRADES))[1]) == [1]


@pytest.mark.parametrize(
    "path", ["/coinbase/products/NOPE-USD/trades", "/coinbase/products/NOPE-USD", "/coinbase/coins"]
)
async def test_what_is_unknown_is_not_found(open_exchange, path):
    client = await open_exchange(recording(trade(1)))

    assert await client.get(path) == (404, {"message": "NotFound"})


@pytest.mark.parametrize("query", ["limit=-1", "after=x", "before=1.5"])
async def test_a_cursor_that_is_no_number_is_refused(open_exchange, query):
    client = await open_exchange(recording(trade(1)))

    assert (await client.get(f"{TRADES}?{query}"))[0] == 400


async def test_a_listed_product_without_trades_has_an_empty_page(open_exchange):
    client = await open_exchange(recording(trade(1)))

    assert await client.get("/coinbase/products/DOGE-USD/trades") == (200, [])
    assert await client.get("/coinbase/products/DOGE-USD/candles?granularity=60") == (200, [])


async def test_products_are_listed_with_their_steps(open_exchange):
    client = await open_exchange(recording(trade(1, price="100.25", size="0.125")))

    _, products = await client.get("/coinbase/products")

    (btc,) = [product for product in products if product["id"] == "BTC-USD"]
    assert (btc["base_currency"], btc["quote_increment"], btc["base_increment"]) == ("BTC", "0.01", "0.001")
    assert (await client.get("/coinbase/products/BTC-USD"))[1] == btc


async def test_candles_are_rows_of_numbers_newest_first(open_exchange):
    trades = (trade(1, 0, price="10.5"), trade(2, 1, price="9", size="0.5"), trade(3, 2 * MINUTE, price="11"))
    client = await open_exchange(recording(*trades), after=HOUR - 1)

    start = FIVE // SECOND
    expected = [[start + 120, 11, 11, 11, 11, 1], [start, 9, 10.5, 10.5, 9, 1.5]]
    assert await client.get(f"{CANDLES}?granularity=60") == (200, expected)
    assert await client.get(f"{CANDLES}?granularity=60&start={start}&end={start + 60}") == (200, expected[1:])
    assert await client.get(
        f"{CANDLES}?granularity=60&start=2025-11-25T05:01:00Z&end=2025-11-25T05:05:00"
    ) == (200, expected[:1])  # fmt: skip


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("granularity=61", "Unsupported granularity"),
        (
            "granularity=60&start=2025-11-25T00:00:00Z&end=2025-11-25T05:00:01Z",
            "granularity too small for the requested time range. Count of aggregations requested exceeds 300",
        ),
        ("granularity=60&start=soon&end=later", "Invalid start: soon"),
    ],
)
async def test_candles_beyond_the_rules_are_refused(open_exchange, query, message):
    client = await open_exchange(recording(trade(1)))

    assert await client.get(f"{CANDLES}?{query}") == (400, {"message": message})


async def test_the_rate_limit_allows_a_burst_and_fills_again(open_exchange):
    seconds = 0.0
    client = await open_exchange(recording(trade(1)), seconds=lambda: seconds)

    burst = [(await client.get(TRADES))[0] for _ in range(17)]
    seconds = 0.2
    later = [(await client.get(TRADES))[0] for _ in range(3)]

    assert burst == [200] * 15 + [429] * 2
    assert later == [200, 200, 429]
    assert (await client.get(TRADES))[1] == {"message": "Public rate limit exceeded"}


async def test_a_fault_of_too_many_requests_says_when_to_ask_again_if_it_is_to(open_exchange):
    client = await open_exchange(recording(trade(1)))
    faults = [{"kind": "too_many_requests", "path": "/trades", "retry_after": 9}, {"kind": "too_many_requests"}]
    client.faults.arm(msgspec.convert({"faults": faults[:1]}, Plan), client.clock.now())

    assert (await client.get("/coinbase/products/BTC-USD"))[0] == 200
    async with client.http.get(TRADES) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "9")
    client.faults.arm(msgspec.convert({"faults": faults[1:]}, Plan), client.clock.now())
    async with client.http.get(TRADES) as answer:
        assert (answer.status, answer.headers.get("Retry-After")) == (429, None)


async def test_health_is_not_limited_and_tells_the_exchange_time(open_exchange):
    client = await open_exchange(recording(trade(1), hours=3), after=5)

    answers = [await client.get("/health") for _ in range(20)]

    assert {status for status, _ in answers} == {200}
    told = answers[0][1]
    assert (told["exchange_time"], told["speed"]) == ("2025-11-25T05:00:00.000005Z", 1.0)
    assert (told["tape_start"], told["tape_hours"], told["shift_hours"]) == ("2025-11-25T05:00:00.000000Z", 3, 0)
