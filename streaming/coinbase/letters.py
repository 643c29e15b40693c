"""Dead letters of Coinbase, read again. Pure."""

from __future__ import annotations

from collections.abc import Collection

from include.contracts import topics
from include.contracts.topics import Header
from streaming.coinbase.messages import Match, Status, Ticker
from streaming.coinbase.parse import Page, UnknownType, UnreadableError, parse_frame, parse_page
from streaming.letters import Letter, Piece, StillUnreadableError, check_followed


def reread(letter: Letter, followed: Collection[str]) -> list[Piece]:
    """Return the records that the producer would make of a letter today; see `streaming.letters.Reread`.

    Raises:
        StillUnreadableError: If it cannot be read, or nobody follows its product.
    """
    try:
        if letter.header(Header.SOURCE) == "rest":
            return [_of_page(letter, parse_page(b"[" + letter.value + b"]"), followed)]
        message = parse_frame(letter.value)
    except UnreadableError as error:
        raise StillUnreadableError(str(error)) from error
    match message:
        case Match():
            check_followed(message.product_id, followed)
            return [Piece(topics.COINBASE_TRADES.name, message.product_id, letter.value, 0, message.time)]
        case Ticker():
            check_followed(message.product_id, followed)
            return [Piece(topics.COINBASE_TICKERS.name, message.product_id, letter.value, 0)]
        case Status():
            return [Piece(topics.COINBASE_STATUS.name, "coinbase", letter.value, 0)]
        case UnknownType():
            raise StillUnreadableError(f"{message.type} is a type that nobody knows")
    return []


def _of_page(letter: Letter, page: Page, followed: Collection[str]) -> Piece:
    is_raw = letter.place.topic == topics.COINBASE_TRADES.name
    product_id = letter.key if is_raw else letter.header(Header.PRODUCT_ID)
    if product_id is None:
        raise StillUnreadableError("it came from REST, and does not say of which product")
    if page.unreadable or len(page.trades) != 1:
        raise StillUnreadableError(page.unreadable[0].reason if page.unreadable else "it is not one trade")
    check_followed(product_id, followed)
    [trade] = page.trades
    return Piece(topics.COINBASE_TRADES.name, product_id, letter.value, 0, trade.time)
