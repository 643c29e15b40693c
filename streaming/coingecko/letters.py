"""Dead letters of CoinGecko, read again: whole replies, or single coins of one. Pure."""

from __future__ import annotations

from collections.abc import Collection

from include.contracts import topics
from include.contracts.topics import Header
from streaming.coingecko.parse import Coin, UnreadableCoin, UnreadableError, parse_markets
from streaming.letters import Letter, Piece, StillUnreadableError


def reread(letter: Letter, followed: Collection[str]) -> list[Piece]:
    """Return the records that the producer would make of a letter today; see `streaming.letters.Reread`.

    No hour is made of prices, so a coin that nobody asks for any more is as good as another.

    Raises:
        StillUnreadableError: If it cannot be read.
    """
    is_reply = letter.value.lstrip().startswith(b"[")
    try:
        coins = parse_markets(letter.value if is_reply else b"[" + letter.value + b"]")
    except UnreadableError as error:
        raise StillUnreadableError(str(error)) from error
    if not is_reply and len(coins) != 1:
        raise StillUnreadableError("it is not one coin")
    index = letter.header(Header.FRAME_INDEX) or "0"
    if not index.isdecimal():
        raise StillUnreadableError(f"its place in its reply is {index}")
    return [_piece(coin, number if is_reply else int(index)) for number, coin in enumerate(coins)]


def _piece(coin: Coin | UnreadableCoin, index: int) -> Piece:
    if isinstance(coin, UnreadableCoin):
        raise StillUnreadableError(coin.reason)
    return Piece(topics.COINGECKO_PRICES.name, coin.id, coin.raw, index)
