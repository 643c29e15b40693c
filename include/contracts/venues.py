"""What is particular to each venue, where that changes how rows are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Venue:
    """One exchange.

    Args:
        side_is: Whose side the wire's `side` is; ours is always the taker's.
        contiguous_ids: Whether a product's trade ids rise by exactly one, so that a missing id proves a missing trade.
    """

    name: str
    markets: tuple[str, ...]
    side_is: str
    contiguous_ids: bool


COINBASE = Venue("coinbase", ("spot",), side_is="maker", contiguous_ids=True)

VENUES = (COINBASE,)
