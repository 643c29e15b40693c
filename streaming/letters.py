"""A dead letter, and what it is read as today. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple, Self

from include.contracts.topics import Header
from streaming.records import Headers

NEEDED = (Header.SOURCE, Header.VENUE, Header.MARKET, Header.RECEIVED_AT)
"""What Bronze needs to know of a record, and nobody can make up later."""
_PLACE = re.compile(r"([\w.-]+)/(\d+)/(\d+)")


class StillUnreadableError(ValueError):
    """The letter cannot be read today either; the message says why."""


class Place(NamedTuple):
    """Where a letter lies: in a venue's dead-letter topic, or in a raw topic if it was Bronze that refused it."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Read `coinbase.dlq/0/17`.

        Raises:
            ValueError: If it is written otherwise.
        """
        match = _PLACE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not like coinbase.dlq/0/17")
        return cls(match[1], int(match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Letter(NamedTuple):
    """A dead letter as it lies in Kafka.

    Args:
        key: A letter of a raw topic has its product's, the others their venue's.
    """

    place: Place
    key: str
    value: bytes
    headers: Mapping[str, bytes]

    def header(self, header: Header) -> str | None:
        """Return what a header says; None if it is not there."""
        value = self.headers.get(header.value)
        return None if value is None else value.decode(errors="replace")


class Piece(NamedTuple):
    """A raw record that the producer would have made of a letter.

    Args:
        frame_index: Its place among the trades of a frame.
        time: The exchange time of a trade; None for all else.
    """

    topic: str
    key: str
    value: bytes
    frame_index: int
    time: datetime | None = None

    def headers(self, letter: Letter) -> Headers:
        """Return its headers: the letter's own, and which letter it was."""
        kept = [(header.value, letter.headers[header.value]) for header in NEEDED]
        index = (Header.FRAME_INDEX.value, b"%d" % self.frame_index)
        return [*kept, index, (Header.REPLAY_OF.value, str(letter.place).encode())]


Reread = Callable[[Letter, Collection[str]], list[Piece]]
"""Reads a letter with today's parser, for the products of its market that are followed.

It gives one piece for each record, none if the frame holds nothing that is kept, and raises `StillUnreadableError`.
"""


def check_headers(letter: Letter) -> None:
    """See that the letter says where it came from.

    Raises:
        StillUnreadableError: If it does not.
    """
    if missing := [header.value for header in NEEDED if header.value not in letter.headers]:
        raise StillUnreadableError(f"it has no header {', '.join(missing)}")


def check_followed(product_id: str, followed: Collection[str]) -> None:
    """See that a product is followed: of others no hour would know.

    Raises:
        StillUnreadableError: If it is not.
    """
    if product_id not in followed:
        raise StillUnreadableError(f"{product_id} is not followed")
