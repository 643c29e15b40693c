"""Read a recording, a file or folder of frames as a feed sent them or a table of trade facts, into trades to play."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

import msgspec

from stack.failures import StackError
from stack.replica.packed import UNPACKING_ERRORS, lines

DEFAULT_RECORDING = Path(__file__).parent / "recording" / "coinbase-2025-11-25T05.csv.zst"
"""Three real hours of BTC-USD, ETH-USD and SOL-USD; the page beside it says where they come from."""

TABLE_HEADER = b"time_us,product_id,trade_id,price,size,side,sequence"
"""The first line of a table of trade facts; `side` is the maker's, as in `match` frames."""

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
"""Moments and spans are whole microseconds, moments counted from 1970 UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
OTHER_SIDE = {"buy": "sell", "sell": "buy"}
_TRADE_FORMS = frozenset({"match", "last_match", "ticker"})
# The text format of session recorders marks connects, what the client sent and what it fetched; a frame has no mark.
_NOT_RECEIVED = re.compile(rb"\S+ (<->|<-|->) ")
# A frame this much older than the newest before it is no straggler: another connection's recording begins there.
_ANOTHER_CONNECTION = MINUTE


class RecordingError(StackError):
    """A recording that cannot be played; the message is one sentence for the person who chose it."""


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade as the exchange knows it; `side` is the maker's, price and size are the text of the wire."""

    product_id: str
    trade_id: int
    time: int
    price: str
    size: str
    side: str
    sequence: int


class Play(msgspec.Struct, frozen=True, gc=False):
    """A trade that the live feed sends at a moment; the same trade twice where the recording repeats it."""

    at: int
    trade: Trade


@dataclass(frozen=True, slots=True)
class Span:
    """The whole hours that a recording covers."""

    first_hour: datetime
    end: datetime

    @property
    def hours(self) -> int:
        """How many hours lie in it, those without trades included."""
        return (self.end - self.first_hour) // timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded.

    Args:
        plays: Every frame that carried a trade, in the order of the live feed.
        span: The whole hours from the first trade to the last.
        ignored: Frames that carry no trade to play, counted by their type.
    """

    plays: Sequence[Play]
    span: Span
    ignored: Counter[str]


class _MatchFrame(msgspec.Struct, tag_field="type", tag="match", gc=False):
    trade_id: int
    product_id: str
    price: str
    size: str
    side: Literal["buy", "sell"]
    time: datetime
    sequence: int | None = None


class _LastMatchFrame(_MatchFrame, tag_field="type", tag="last_match", gc=False):
    pass


class _TickerFrame(msgspec.Struct, tag_field="type", tag="ticker", gc=False):
    trade_id: int
    product_id: str
    price: str
    last_size: str
    side: Literal["buy", "sell"]
    time: datetime
    sequence: int | None = None


_TradeFrame = _MatchFrame | _LastMatchFrame | _TickerFrame
_decode_frame: Callable[[bytes], _TradeFrame] = msgspec.json.Decoder(_TradeFrame).decode


class _Sighting(msgspec.Struct, frozen=True, gc=False):
    """A trade seen in a frame of one form, and when to play it."""

    form: str
    at: int
    trade: Trade


def microseconds(moment: datetime) -> int:
    """Count a moment in microseconds from 1970 UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """Return the moment that lies so many microseconds after 1970 UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def read_recording(path: Path) -> Recording:
    """Read a file, or all files below a folder in the order of their names.

    A file is plain, gzip or zstd, as its first bytes say, and holds either the table of facts or one frame a line:
    bare, after a receive time, or inside an envelope. Where a trade has `match` frames, its `ticker` frames are not
    played.

    Raises:
        RecordingError: If there is nothing to play or something cannot be read.
    """
    ignored: Counter[str] = Counter()
    sightings: list[_Sighting] = []
    for file in _files(path):
        sightings += _in_playing_order(_read_file(file, ignored))
    matched = {(s.trade.product_id, s.trade.trade_id) for s in sightings if s.form != "ticker"}
    within = [s for s in sightings if s.form != "last_match"] or sightings
    if not within:
        raise RecordingError(f"The recording {path} holds no trades: it needs match or ticker frames.")
    first = min(s.trade.time for s in within) // HOUR * HOUR
    plays = []
    for sighting in sightings:
        if sighting.form == "ticker" and (sighting.trade.product_id, sighting.trade.trade_id) in matched:
            ignored["ticker of a match"] += 1
        elif sighting.trade.time < first:
            # What was last traded before the subscription: of an hour that was not recorded.
            ignored["last_match before the first hour"] += 1
        else:
            plays.append(Play(sighting.at, sighting.trade))
    plays.sort(key=lambda play: play.at)
    end = (max(play.at for play in plays) // HOUR + 1) * HOUR
    return Recording(plays, Span(moment(first), moment(end)), ignored)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RecordingError(f"The recording {path} does not exist: give a file or a folder of recorded frames.")
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".") and p.suffix != ".md")
    if not files:
        raise RecordingError(f"The recording {path} is an empty folder: give one that holds recorded frames.")
    return files


def _in_playing_order(sightings: Iterable[tuple[str, Trade]]) -> Iterator[_Sighting]:
    """Give each frame of a file its moment: its trade's time, or that of the newest frame before it.

    So a frame that a feed sent late or again is played late or again.
    """
    newest: dict[str, int] = defaultdict(int)
    for form, trade in sightings:
        late = newest[trade.product_id] - trade.time
        if late <= 0 or late > _ANOTHER_CONNECTION:
            newest[trade.product_id] = trade.time
        yield _Sighting(form, newest[trade.product_id], trade)


def _read_file(path: Path, ignored: Counter[str]) -> Iterator[tuple[str, Trade]]:
    """Read the trades of one file and the form in which each was seen."""
    is_table = False
    try:
        for number, line in enumerate(lines(path), start=1):
            if not (line := line.strip()):
                continue
            if line == TABLE_HEADER:
                is_table = True
                continue
            try:
                yield from _parse_row(line) if is_table else _parse_line(line, ignored)
            except (ValueError, msgspec.DecodeError) as error:
                raise RecordingError(f"Line {number} of the recording {path} cannot be read: {error}.") from error
    except UNPACKING_ERRORS as error:
        raise RecordingError(f"The recording {path} cannot be read: {error}.") from error


def _parse_row(line: bytes) -> Iterator[tuple[str, Trade]]:
    time, product_id, trade_id, price, size, side, sequence = line.decode().split(",")
    yield "match", _checked(Trade(product_id, int(trade_id), int(time), price, size, side, int(sequence)))


def _parse_line(line: bytes, ignored: Counter[str]) -> Iterator[tuple[str, Trade]]:
    """Read the frame on a line, whatever stands around it.

    Raises:
        ValueError: If there is no frame, or one that lacks what a trade needs.
    """
    if _NOT_RECEIVED.match(line):
        ignored["not received"] += 1
        return
    start = line.find(b"{")
    if start < 0:
        raise ValueError("it holds no JSON object")
    # An array may carry a frame as its element; other text before an object is a receive time.
    text = line if line.startswith(b"[") else line[start:]
    try:
        frame = _decode_frame(text)
    except msgspec.ValidationError:
        value = msgspec.json.decode(text)
        found = _frame_within(value)
        if found is None or (found["type"] == "ticker" and "trade_id" not in found):
            ignored[str(value.get("type", "envelope")) if isinstance(value, dict) else "array"] += 1
            return
        frame = msgspec.convert(found, _TradeFrame)
    yield str(frame.__struct_config__.tag), _checked(_trade(frame))


def _frame_within(value: object) -> dict[str, Any] | None:
    """Find the frame of a trade in an envelope: an object, an array, or text that is JSON again."""
    if isinstance(value, str) and value.startswith("{"):
        value = msgspec.json.decode(value)
    if isinstance(value, dict) and value.get("type") in _TRADE_FORMS:
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        if isinstance(part, dict | str) and (found := _frame_within(part)) is not None:
            return found
    return None


def _trade(frame: _TradeFrame) -> Trade:
    """Make the trade that a frame tells of; a ticker names the taker's side, a match the maker's."""
    time = microseconds(frame.time if frame.time.tzinfo else frame.time.replace(tzinfo=UTC))
    sequence = frame.trade_id if frame.sequence is None else frame.sequence
    if isinstance(frame, _TickerFrame):
        size, side = frame.last_size, OTHER_SIDE[frame.side]
    else:
        size, side = frame.size, frame.side
    return Trade(frame.product_id, frame.trade_id, time, frame.price, size, side, sequence)


def _checked(trade: Trade) -> Trade:
    if trade.side not in OTHER_SIDE:
        raise ValueError(f"side {trade.side!r} is neither buy nor sell")
    for name, text in (("price", trade.price), ("size", trade.size)):
        try:
            finite = Decimal(text).is_finite()
        except InvalidOperation:
            finite = False
        if not finite:
            raise ValueError(f"{name} {text!r} is not a number")
    return trade
