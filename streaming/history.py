"""How far the fetching of a product's history has come, so that a new start goes on and does not begin again.

It is published to the topic `ingestion.history`, key `venue/market/product_id`, as JSON:

    {"venue": "coinbase", "market": "spot", "product_id": "BTC-USD", "top": 910941280, "below": 910840280,
     "newest": "2026-11-20T12:00:00.251063Z", "holes": [[910901000, 910901004]],
     "since": "2026-11-20T09:00:00.000000Z"}

Until the product has progress it is its producer's; from then on it is that of whoever fetches history from before what
is there (`streaming/coinbase/past.py`), who goes on below it. Pure.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from include.contracts.topics import HISTORY, Header
from streaming.progress import iso
from streaming.records import Record

MOST_HOLES = 1000
"""With more holes than this the cursor stays where it is, so that its records stay small."""


class HistoryCursor(msgspec.Struct, frozen=True):
    """What of a product's history is acknowledged: all ids from `below` up to `top`, but for the holes.

    Args:
        top: The lowest id above the history.
        below: Ids lower than this are still to be fetched.
        newest: Exchange time of the history's newest trade.
        holes: First and last id of each stretch that the history left out, not yet looked for again.
        since: The oldest exchange time that was wanted; None as older records have it.
    """

    venue: str
    market: str
    product_id: str
    top: int
    below: int
    newest: datetime
    holes: tuple[tuple[int, int], ...] = ()
    since: datetime | None = None

    def record(self, received_at: int) -> Record:
        """Return the record that says so; a newer one outdates it.

        Args:
            received_at: Microseconds since 1970.
        """
        times = {"newest": iso(self.newest), "since": iso(self.since) if self.since else None}
        return Record(
            HISTORY.name,
            f"{self.venue}/{self.market}/{self.product_id}",
            msgspec.json.encode(msgspec.structs.asdict(self) | times),
            [(Header.RECEIVED_AT.value, b"%d" % received_at), (Header.VENUE.value, self.venue.encode())],
            is_superseded_if_lost=True,
        )
