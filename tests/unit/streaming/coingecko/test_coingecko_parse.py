import msgspec
import pytest

from include.settings import CHECKOUT
from streaming.coingecko.parse import Coin, UnreadableCoin, UnreadableError, parse_markets, parse_refusal

pytestmark = pytest.mark.unit

DATA = CHECKOUT / "tests" / "data" / "coingecko"
BITCOIN = b'{"id":"bitcoin","current_price":49053,"market_cap":917825524991,"last_updated":"2021-05-15T15:59:43.867Z"}'
NUMBERS = b'{"id":"x","current_price":6.3363e-07,"market_cap":1.50,"total_volume":null,"max_supply":null}'


@pytest.mark.parametrize("name", ["markets_2021-05-15.json", "markets_2024-01-14.json"])
def test_each_coin_of_a_recorded_reply_keeps_the_bytes_that_the_reply_has_of_it(name):
    body = (DATA / name).read_bytes()

    coins = parse_markets(body)

    assert [coin.id for coin in coins] == [element["id"] for element in msgspec.json.decode(body)]
    assert all(coin.raw in body for coin in coins)
    assert [msgspec.json.decode(coin.raw) for coin in coins] == msgspec.json.decode(body)


def test_numbers_of_any_form_and_nulls_are_left_as_they_are_written():
    assert parse_markets(b"[" + NUMBERS + b" , " + BITCOIN + b"]") == [Coin("x", NUMBERS), Coin("bitcoin", BITCOIN)]


def test_a_coin_that_the_venue_knows_nothing_of_but_its_name_is_one():
    assert parse_markets(b'[{"id":"new"}]') == [Coin("new", b'{"id":"new"}')]


def test_an_empty_reply_has_no_coins():
    assert parse_markets(b"[]") == []


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (b"{}", "missing required field `id`"),
        (b'{"id":""}', "length >= 1"),
        (b'{"id":"x","current_price":"5"}', r"got `str` - at `\$.current_price`"),
        (b'{"id":"x","market_cap":true}', r"got `bool` - at `\$.market_cap`"),
        (b'{"id":"x","last_updated":"yesterday"}', "Invalid RFC3339"),
        (b'{"id":"x","last_updated":"2021-05-15T15:59:43"}', "timezone"),
        (b'{"id":"x","current_price":1e999}', "out of range"),
        (b"7", "Expected `object`"),
        (b"null", "Expected `object`"),
    ],
)
def test_an_element_that_is_no_coin_says_why_and_leaves_its_neighbours_alone(element, reason):
    broken, whole = parse_markets(b"[" + element + b"," + BITCOIN + b"]")

    assert broken == UnreadableCoin(element, broken.reason)
    with pytest.raises(ValueError, match=reason):
        raise ValueError(broken.reason)
    assert whole == Coin("bitcoin", BITCOIN)


@pytest.mark.parametrize(
    "body",
    [b"", b"[{", b"[" + BITCOIN, b"[" + BITCOIN + b"]]", b"{}", b'"a"', b"<html>", b'[{"id":\xff}]', b"[NaN]"],
)
def test_a_body_that_is_no_list_is_unreadable_as_a_whole(body):
    with pytest.raises(UnreadableError, match="reply of prices: "):
        parse_markets(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"Missing parameter vs_currency"}', "Missing parameter vs_currency"),
        (b'{"status":{"error_code":429,"error_message":"Rate Limit"}}', "Rate Limit"),
        (b'{"error":{"status":{"error_code":10002}}}', """b'{"error":{"status":{"error_code":10002}}}'"""),
        (b"error code: 1020", "b'error code: 1020'"),
        (b"{}", "b'{}'"),
    ],
)
def test_a_refusal_is_told_in_the_venues_words(body, words):
    assert parse_refusal(body) == words
