from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import msgspec
import pytest

from stack.replica.plan import Plan
from stack.replica.recordings import SECOND
from streaming.backoff import Backoff
from streaming.coingecko import poll
from streaming.coingecko.budget import Limits
from streaming.coingecko.poll import Poller
from streaming.coingecko.rest import Markets
from streaming.metrics import Metrics
from streaming.session import open_session
from tests.unit.stack.replica.conftest import Client
from tests.unit.stack.replica.market import recording, trade
from tests.unit.streaming.conftest import Acknowledging

pytestmark = pytest.mark.unit

ROOT = "/coingecko/api/v3"
MARKETS = f"{ROOT}/coins/markets"
BITCOIN = f"{MARKETS}?vs_currency=usd&ids=bitcoin"
KEYS = [
    "id", "symbol", "name", "image", "current_price", "market_cap", "market_cap_rank", "fully_diluted_valuation",
    "total_volume", "high_24h", "low_24h", "price_change_24h", "price_change_percentage_24h", "market_cap_change_24h",
    "market_cap_change_percentage_24h", "circulating_supply", "total_supply", "max_supply", "ath",
    "ath_change_percentage", "ath_date", "atl", "atl_change_percentage", "atl_date", "roi", "last_updated",
]  # fmt: skip


async def text(client: Client, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    async with client.http.get(path, headers=headers) as answer:
        return answer.status, await answer.text(), dict(answer.headers)


def arm(client: Client, *faults: dict) -> None:
    client.faults.arm(msgspec.convert({"faults": faults, "seed": 7}, Plan), client.clock.now())


async def test_a_coin_is_written_as_the_venue_does(open_exchange):
    trades = (trade(1, 0, price="80000.00", size="2"), trade(2, 1_500_000, price="81234.56", size="0.5"))
    client = await open_exchange(recording(*trades), after=60 * SECOND)

    [coin] = (await client.get(BITCOIN))[1]

    assert list(coin) == KEYS
    told = ("current_price", "market_cap", "total_volume", "high_24h", "low_24h", "price_change_24h", "last_updated")
    assert {name: coin[name] for name in told} == {
        "current_price": 81235,
        "market_cap": round(81234.56 * 19952318.0),
        "total_volume": round(2.5 * 81234.56),
        "high_24h": 81235,
        "low_24h": 80000,
        "price_change_24h": 1234.56,
        "last_updated": "2025-11-25T05:00:01.500Z",
    }


@pytest.mark.parametrize(
    ("price", "written"),
    [
        ("81234.56", "81235"),
        ("2513.20", "2513.2"),
        ("100", "100"),
        ("0.540023", "0.540023"),
        ("0.00000976", "9.76e-06"),
        ("0.000000633631", "6.33631e-07"),
    ],
)
async def test_a_number_is_whole_or_not_or_has_an_exponent_as_its_size_has_it(open_exchange, price, written):
    client = await open_exchange(recording(trade(1, price=price)), after=60 * SECOND)

    _, body, _ = await text(client, BITCOIN)

    assert f'"current_price":{written},' in body
    assert '"circulating_supply":19952318.0,' in body


async def test_a_coin_that_was_never_traded_has_nulls_for_all_that_follows_from_a_price(open_exchange):
    client = await open_exchange(recording(trade(1)), after=60 * SECOND)

    [coin] = (await client.get(f"{MARKETS}?vs_currency=usd&ids=dogecoin"))[1]

    assert {name for name, value in coin.items() if value is not None} == {
        "id", "symbol", "name", "image", "market_cap_rank", "circulating_supply", "total_supply",
    }  # fmt: skip


async def test_coins_come_by_market_value_page_by_page_and_unknown_ones_are_left_out(open_exchange):
    client = await open_exchange(recording(trade(1)))

    async def ids(query: str) -> list[str]:
        return [coin["id"] for coin in (await client.get(f"{MARKETS}?vs_currency=usd{query}"))[1]]

    assert await ids("&ids=dogecoin,bitcoim,bitcoin") == ["bitcoin", "dogecoin"]
    assert await ids("&per_page=2") == ["bitcoin", "ethereum"]
    assert await ids("&per_page=2&page=2") == ["ripple", "solana"]
    assert await ids("&page=2") == []
    assert len(await ids("")) == 13


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        (MARKETS, 422, "Missing parameter vs_currency"),
        (f"{MARKETS}?vs_currency=xxx", 422, "invalid vs_currency"),
        (f"{MARKETS}?vs_currency=usd&per_page=251", 422, "invalid page"),
        (f"{MARKETS}?vs_currency=usd&page=0", 422, "invalid page"),
        (f"{MARKETS}?vs_currency=usd&page=x", 422, "invalid page"),
        (f"{ROOT}/exchanges", 404, "Incorrect path. Please check https://www.coingecko.com/api/"),
    ],
)
async def test_a_request_that_is_wrong_is_refused_with_the_reason(open_exchange, path, status, error):
    client = await open_exchange(recording(trade(1)))

    assert await client.get(path) == (status, {"error": error})


async def test_the_cache_gives_a_reply_for_half_a_minute_and_says_its_age(open_exchange):
    client = await open_exchange(recording(trade(1, 0), trade(2, 70 * SECOND, price="99")), after=60 * SECOND)
    seen = []
    for _ in range(5):
        _, body, headers = await text(client, BITCOIN)
        seen.append((json.loads(body)[0]["current_price"], headers["Age"], headers["Cf-Cache-Status"], headers["Etag"]))
        client.clock.advance(15 * SECOND)
    etags = [etag for *_, etag in seen]

    assert [told for *told, _ in seen] == [
        [100, "0", "EXPIRED"],
        [100, "15", "HIT"],
        [100, "0", "EXPIRED"],
        [100, "15", "HIT"],
        [99, "0", "EXPIRED"],
    ]
    assert etags[0] == etags[3] != etags[4]
    assert headers["Cache-Control"] == "public, max-age=30"


async def test_who_has_the_reply_already_is_told_so(open_exchange):
    client = await open_exchange(recording(trade(1), trade(2, 70 * SECOND, price="99")), after=60 * SECOND)
    _, _, headers = await text(client, BITCOIN)

    same = await text(client, BITCOIN, **{"If-None-Match": headers["Etag"]})
    client.clock.advance(60 * SECOND)
    other = await text(client, BITCOIN, **{"If-None-Match": headers["Etag"]})

    assert (same[0], same[1], same[2]["Etag"]) == (304, "", headers["Etag"])
    assert other[0] == 200


async def test_the_limit_is_thirty_requests_a_minute(open_exchange):
    seconds = 0.0
    client = await open_exchange(recording(trade(1)), seconds=lambda: seconds)

    statuses = [(await text(client, BITCOIN))[0] for _ in range(31)]
    status, body, headers = await text(client, BITCOIN)
    seconds = 2.0

    assert statuses == [200] * 30 + [429]
    assert (status, json.loads(body)["status"]["error_code"], headers["Retry-After"]) == (429, 429, "60")
    assert (await text(client, BITCOIN))[0] == 200


async def test_faults_may_be_meant_for_this_venue_alone(open_exchange):
    client = await open_exchange(recording(trade(1)))
    arm(
        client,
        {"kind": "too_many_requests", "path": "/coingecko/", "retry_after": 7},
        {"kind": "too_many_requests", "path": "/coingecko/", "after": 1},
        {"kind": "failure", "path": "/coingecko/", "status": 503, "after": 2},
        {"kind": "delay", "path": "/coingecko/", "seconds": 3, "after": 3},
    )

    answers = []
    for _ in range(4):
        assert (await client.get("/coinbase/products/BTC-USD/trades"))[0] == 200
        answers.append(await text(client, BITCOIN))
        client.clock.advance(SECOND)

    assert [(status, headers.get("Retry-After")) for status, _, headers in answers] == [
        (429, "7"),
        (429, None),
        (503, None),
        (200, None),
    ]
    assert client.clock.slept == [3]
    assert {injection.path for injection in client.faults.injected} == {BITCOIN}


async def test_the_producer_writes_each_change_once_through_faults_and_cached_replies(
    open_exchange, monkeypatch, tmp_path
):
    monkeypatch.setattr(poll, "BUSY_SECONDS", 0.01)
    trades = [trade(number, number * 60 * SECOND - 1, price=f"0.{number}50") for number in range(1, 5)]
    client = await open_exchange(recording(*trades), after=60 * SECOND, seconds=_ample())
    arm(
        client,
        {"kind": "too_many_requests", "chance": 0.2, "times": None, "retry_after": 1},
        {"kind": "failure", "chance": 0.2, "times": None},
    )
    monkeypatch.setattr("streaming.coingecko.rest.retry_after", lambda header, now: 0.01 if header else 0.0)
    coins = ("bitcoin", "dogecoin")
    kafka, metrics, stop = Acknowledging(), Metrics("coingecko"), asyncio.Event()
    limits = Limits(timedelta(0), 10**9, 10**12)
    root = f"http://127.0.0.1:{client.http.port}{ROOT}"
    async with open_session(root, is_remote=False) as session:
        poller = Poller(
            Markets(session, coins), coins, limits, tmp_path / "kept.json", kafka, metrics, stop,
            pauses=Backoff(0.001, 0.001),
        )  # fmt: skip
        polling = asyncio.create_task(poller.run())
        async with asyncio.timeout(30):
            for number in range(1, 5):
                settled = metrics.frames["unchanged"] + 3
                while len(_prices(kafka, "bitcoin")) < number or metrics.frames["unchanged"] < settled:
                    await asyncio.sleep(0.001)
                client.clock.advance(60 * SECOND)
            stop.set()
            await polling

    assert [json.loads(value)["current_price"] for value in _prices(kafka, "bitcoin")] == [0.15, 0.25, 0.35, 0.45]
    assert [json.loads(value)["current_price"] for value in _prices(kafka, "dogecoin")] == [None]
    assert {injection.status for injection in client.faults.injected} == {429, 500}
    assert kafka.values("coingecko.dlq") == []
    assert kafka.events() == []


def _ample():
    """Give a clock so fast that no limit of requests is ever reached."""
    hours = iter(range(10**9))
    return lambda: float(next(hours)) * 3600


def _prices(kafka: Acknowledging, coin: str) -> list[bytes]:
    return [record.value for record in kafka.records if (record.topic, record.key) == ("coingecko.raw.prices", coin)]
