"""What is particular to each exchange, where that changes how its trades are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Venue:
    """One exchange.

    Args:
        side_is: Whose side the wire's `side` is; ours is always the taker's.
        sides: The wire's words for a side, each with ours.
        contiguous_ids: Whether a product's trade ids rise by exactly one, so that a missing id proves a missing trade.
        has_candles: Whether its own one-minute candles can be asked for, by `streaming.<name>.candles`.
    """

    name: str
    markets: tuple[str, ...]
    side_is: str
    contiguous_ids: bool
    has_candles: bool = False
    sides: Mapping[str, str] = field(default_factory=lambda: {"buy": "buy", "sell": "sell"}, hash=False)


COINBASE = Venue("coinbase", ("spot",), side_is="maker", contiguous_ids=True, has_candles=True)
BYBIT = Venue("bybit", ("linear", "spot"), side_is="taker", contiguous_ids=False, sides={"Buy": "buy", "Sell": "sell"})

VENUES = (COINBASE, BYBIT)
