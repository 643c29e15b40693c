"""What goes to Kafka: one record, and what its headers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from include.contracts.topics import IMPLIED, Header

Headers = list[tuple[str, bytes]]
Source = Literal["ws", "rest"]
SOURCES: tuple[Source, ...] = ("ws", "rest")
_FRAME_INDEX = Header.FRAME_INDEX.value
_RECEIVED_AT = Header.RECEIVED_AT.value


class Record(msgspec.Struct, gc=False):
    """One Kafka record on its way; it is made once a frame, and a Struct is made three times as fast as a dataclass.

    Args:
        headers: May be shared with other records; nobody changes them.
        acknowledged: Called when the broker has acknowledged it.
        is_superseded_if_lost: Whether a newer record of the same key will say it all; such a one is not sent again.
    """

    topic: str
    key: str
    value: bytes
    headers: Headers
    acknowledged: Callable[[], None] | None = None
    is_superseded_if_lost: bool = False


class Origin:
    """The venue and market that records come from."""

    def __init__(self, venue: str, market: str) -> None:
        self.venue = venue
        self.market = market
        left_out = IMPLIED[venue]
        self._implied_index = left_out.get(Header.FRAME_INDEX, "").encode()
        # Made once: with a thousand frames a second the same headers would be encoded as often.
        self._of_source: dict[Source, Headers] = {
            source: [
                (header.value, text.encode())
                for header, text in ((Header.SOURCE, source), (Header.MARKET, market))
                if left_out.get(header) != text
            ]
            for source in SOURCES
        }

    def headers(self, source: Source, received_at: int, frame_index: bytes = b"0") -> Headers:
        """Return the headers of a raw record, without those that its topic implies.

        Args:
            source: The live feed or the history.
            received_at: Microseconds since 1970.
            frame_index: The trade's place in a frame that holds many, as text.
        """
        place = [] if frame_index == self._implied_index else [(_FRAME_INDEX, frame_index)]
        return [*self._of_source[source], *place, (_RECEIVED_AT, b"%d" % received_at)]

    def dead_letter(self, topic: str, frame: bytes, reason: str, headers: Headers) -> Record:
        """Return the record of a frame that could not be read; its headers are what a readable one's would be."""
        return Record(topic, self.venue, frame, [*headers, (Header.REASON.value, reason.encode())])
