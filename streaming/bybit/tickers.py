"""Tickers as they stand: the snapshot of each symbol with the deltas that came since. Pure."""

from __future__ import annotations

import msgspec

from streaming.bybit.parse import Ticker


class Tickers:
    """The states of one connection; another connection begins with snapshots of its own."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, msgspec.Raw]] = {}

    def merge(self, ticker: Ticker) -> bytes | None:
        """Return the symbol's state after a frame as JSON, each value as it was written.

        None for a delta that no snapshot came before: of most fields it would know nothing.
        """
        if ticker.is_snapshot:
            self._states[ticker.symbol] = dict(ticker.fields)
        elif (state := self._states.get(ticker.symbol)) is not None:
            state.update(ticker.fields)
        else:
            return None
        return msgspec.json.encode(self._states[ticker.symbol])
