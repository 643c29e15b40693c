"""CoinGecko's words: a coin of `GET /coins/markets`, key by key in its order, and the bodies of its refusals."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from stack.replica.recordings import Trade, moment
from stack.replica.tape import Day


class Coin(NamedTuple):
    """A coin that the venue lists.

    Args:
        product_id: The product of the tape whose trades make its price.
        supply: How many there are, as the venue writes it.
        most: How many there can be; None where there is no limit.
    """

    id: str
    symbol: str
    name: str
    product_id: str
    supply: Decimal
    most: Decimal | None = None


COINS = (
    Coin("bitcoin", "btc", "Bitcoin", "BTC-USD", Decimal("19952318.0"), Decimal("21000000.0")),
    Coin("ethereum", "eth", "Ethereum", "ETH-USD", Decimal("120694552.391785")),
    Coin("ripple", "xrp", "XRP", "XRP-USD", Decimal("60331634327.0"), Decimal("100000000000.0")),
    Coin("solana", "sol", "Solana", "SOL-USD", Decimal("559260401.5163")),
    Coin("dogecoin", "doge", "Dogecoin", "DOGE-USD", Decimal("161289196383.705")),
    Coin("cardano", "ada", "Cardano", "ADA-USD", Decimal("36607884893.1421"), Decimal("45000000000.0")),
    Coin("bitcoin-cash", "bch", "Bitcoin Cash", "BCH-USD", Decimal("19957093.75"), Decimal("21000000.0")),
    Coin("chainlink", "link", "Chainlink", "LINK-USD", Decimal("696849970.452587"), Decimal("1000000000.0")),
    Coin("litecoin", "ltc", "Litecoin", "LTC-USD", Decimal("76571024.9217"), Decimal("84000000.0")),
    Coin("avalanche-2", "avax", "Avalanche", "AVAX-USD", Decimal("426584745.318"), Decimal("720000000.0")),
    Coin("shiba-inu", "shib", "Shiba Inu", "SHIB-USD", Decimal("589246854026195.0")),
    Coin("polkadot", "dot", "Polkadot", "DOT-USD", Decimal("1629745718.61")),
    Coin("uniswap", "uni", "Uniswap", "UNI-USD", Decimal("630330527.12"), Decimal("1000000000.0")),
)
"""By market value, as the venue lists them."""

WHOLE_FROM = Decimal(10_000)
"""From here on the venue gives prices without a fraction."""


def markets(listings: Iterable[dict[str, Any]]) -> bytes:
    """Make the body of a reply."""
    return msgspec.json.encode(list(listings))


def listing(rank: int, coin: Coin, last: Trade | None, day: Day | None) -> dict[str, Any]:
    """Return a coin as it stands after a trade; one that was never traded has a rank and a supply, but no price.

    Args:
        last: The last trade of its product.
        day: The 24 hours before that trade.
    """
    price = Decimal(last.price) if last else None
    before = Decimal(day.open_24h) if day else None
    change = price - before if price is not None and before is not None else None
    share = change / before * 100 if change is not None and before else None
    cap = price * coin.supply if price is not None else None
    valuation = price * coin.most if price is not None and coin.most is not None else None
    cap_change = change * coin.supply if change is not None else None
    high, low = (Decimal(day.high_24h), Decimal(day.low_24h)) if day else (None, None)
    highest, lowest = high, low  # the tape knows of no time before its own
    at = wire_time(last.time) if last else None
    return {
        "id": coin.id, "symbol": coin.symbol, "name": coin.name,
        "image": f"https://coin-images.coingecko.com/coins/images/{rank}/large/{coin.id}.png",
        "current_price": _price(price), "market_cap": _whole(cap), "market_cap_rank": rank,
        "fully_diluted_valuation": _whole(valuation),
        "total_volume": _whole(day.volume_24h * price if day and price is not None else None),
        "high_24h": _price(high), "low_24h": _price(low),
        "price_change_24h": _number(change, 15), "price_change_percentage_24h": _number(share, 5),
        "market_cap_change_24h": _number(cap_change, 15), "market_cap_change_percentage_24h": _number(share, 5),
        "circulating_supply": _supply(coin.supply), "total_supply": _supply(coin.most or coin.supply),
        "max_supply": _supply(coin.most),
        "ath": _price(highest), "ath_change_percentage": _number(_percent(price, highest), 5), "ath_date": at,
        "atl": _price(lowest), "atl_change_percentage": _number(_percent(price, lowest), 5), "atl_date": at,
        "roi": None, "last_updated": at,
    }  # fmt: skip


def missing(parameter: str) -> bytes:
    """Refuse a request that lacks a parameter."""
    return refusal(f"Missing parameter {parameter}")


def refusal(reason: str) -> bytes:
    """Refuse a request."""
    return msgspec.json.encode({"error": reason})


def status(code: int, message: str) -> bytes:
    """Refuse a request for a reason that is not in it."""
    return msgspec.json.encode({"status": {"error_code": code, "error_message": message}})


def wire_time(microseconds: int) -> str:
    """Write a moment as the venue does: three fractional digits and Z."""
    return moment(microseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _percent(price: Decimal | None, of: Decimal | None) -> Decimal | None:
    return (price - of) / of * 100 if price is not None and of else None


def _price(value: Decimal | None) -> msgspec.Raw | None:
    return _whole(value) if value is not None and value >= WHOLE_FROM else _number(value, 6)


def _whole(value: Decimal | None) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(f"{value:.0f}".encode())


def _number(value: Decimal | None, digits: int) -> msgspec.Raw | None:
    """Write a number as the venue's own language does: of so many digits at most, a small one with an exponent."""
    if value is None:
        return None
    rounded = float(f"{value:.{digits}g}")
    return msgspec.Raw((str(int(rounded)) if rounded.is_integer() else repr(rounded)).encode())


def _supply(value: Decimal | None) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(f"{value:f}".encode())
