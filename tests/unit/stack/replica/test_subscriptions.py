from __future__ import annotations

import json

import pytest

from stack.replica.subscriptions import Channel, Request, added, read_request, taken_away

pytestmark = pytest.mark.unit

PRODUCTS = ("BTC-USD", "ETH-USD")


def asked(**message: object) -> Request:
    return read_request(json.dumps(message), PRODUCTS)


def of(*products: str) -> dict[str, None]:
    return dict.fromkeys(products)


def test_channels_share_the_products_of_the_message():
    assert asked(type="subscribe", product_ids=["BTC-USD", "ETH-USD"], channels=["matches", "ticker"]) == Request(
        wanted={Channel.MATCHES: of("BTC-USD", "ETH-USD"), Channel.TICKER: of("BTC-USD", "ETH-USD")}
    )


def test_a_channel_may_name_its_own_products():
    assert asked(
        type="subscribe", product_ids=["ETH-USD"], channels=["matches", {"name": "ticker", "product_ids": ["BTC-USD"]}]
    ) == Request(wanted={Channel.MATCHES: of("ETH-USD"), Channel.TICKER: of("BTC-USD")})


def test_status_needs_no_products():
    assert asked(type="subscribe", channels=[{"name": "status"}]) == Request(wanted={Channel.STATUS: {}})


def test_a_bad_product_is_refused_and_the_good_ones_hold():
    assert asked(type="subscribe", product_ids=["XXX-USD", "BTC-USD"], channels=["matches"]) == Request(
        wanted={Channel.MATCHES: of("BTC-USD")}, problems=("XXX-USD is not a valid product",)
    )


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["trades"]}, "trades is not a valid channel"),
        (
            {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["level2"]},
            "level2, level3, and full channels now require authentication.",
        ),
        ({"type": "subscribe", "channels": ["matches"]}, "matches needs product_ids"),
        ({"type": "subscribe", "product_ids": ["BTC-USD"]}, "channels is required"),
        ({"type": "hello"}, "Type has to be either subscribe or unsubscribe"),
        ({"type": "subscribe", "channels": 7}, "Malformed JSON: Expected `array`, got `int` - at `$.channels`"),
    ],
)
def test_what_is_wrong_is_said(message, problem):
    assert asked(**message) == Request(problems=(problem,))


def test_broken_json_is_refused():
    assert read_request('{"type":', PRODUCTS).problems == ("Malformed JSON: Input data was truncated",)


def test_subscriptions_add_up():
    before = {Channel.MATCHES: of("BTC-USD")}

    assert added(before, {Channel.MATCHES: of("ETH-USD"), Channel.STATUS: {}}) == {
        Channel.MATCHES: of("BTC-USD", "ETH-USD"),
        Channel.STATUS: {},
    }


def test_products_and_whole_channels_are_taken_away():
    before = {Channel.MATCHES: of("BTC-USD", "ETH-USD"), Channel.TICKER: of("BTC-USD"), Channel.STATUS: {}}
    request = asked(type="unsubscribe", channels=[{"name": "matches", "product_ids": ["BTC-USD"]}, {"name": "ticker"}])

    assert taken_away(before, request.wanted) == {Channel.MATCHES: of("ETH-USD"), Channel.STATUS: {}}


def test_a_channel_whose_last_product_goes_is_left():
    assert taken_away({Channel.TICKER: of("BTC-USD")}, {Channel.TICKER: of("BTC-USD")}) == {}
