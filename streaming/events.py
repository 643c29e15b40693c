"""What happened to a feed, as told to the topic `ingestion.events`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from include.contracts import topics
from include.contracts.topics import Header
from streaming.progress import iso
from streaming.records import Record

Kind = Literal[
    "gap",
    "history",
    "reconnect",
    "subscription_refused",
    "bridged",
    "unprovable",
    "new_field",
    "changed_type",
    "retyped_field",
]
State = Literal["open", "repaired", "unavailable"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened; what does not apply to its kind is null.

    Args:
        product_id: None where it concerns the whole connection.
        reason: In words, for a person.
        unprovable_from: The exchange time from which, at that time included, trades may be missing; as text.
        unprovable_until: The exchange time from which none is again.
        state: How a gap, or the history of a product, stands.
        at: Our clock, UTC, as text; `record` fills it in.
    """

    kind: Kind
    venue: str
    market: str
    product_id: str | None = None
    reason: str
    first_missing_id: int | None = None
    last_missing_id: int | None = None
    unprovable_from: str | None = None
    unprovable_until: str | None = None
    state: State | None = None
    at: str = ""

    def record(self, at: datetime) -> Record:
        """Return the Kafka record that tells it."""
        key = "/".join(part for part in (self.venue, self.market, self.product_id) if part)
        received_at = str(int(at.timestamp() * 1_000_000)).encode()
        headers = [(Header.RECEIVED_AT.value, received_at), (Header.VENUE.value, self.venue.encode())]
        return Record(topics.EVENTS.name, key, msgspec.json.encode(msgspec.structs.replace(self, at=iso(at))), headers)


class DriftEvent(Event, frozen=True, kw_only=True):
    """A venue's messages have a field that is new, or of another type.

    Args:
        message_type: Which of its messages.
        expected: The type that the field had; None if it is new.
        got: The type that it has.
        count: How many frames became dead letters by it since it was told last; 1 if frames are kept with it.
    """

    message_type: str
    field: str
    expected: str | None
    got: str
    count: int
