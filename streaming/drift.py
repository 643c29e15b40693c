"""How a venue's messages differ from those that we know: fields that are new, fields that have another type.

A new field harms nothing, for the frame is kept as received; it is told once. A field of another type makes its frame a
dead letter if we need it; that is told with how many there were. If we do not, its frame is kept, and it is told once:
the type that such a field had is the first that this process saw, null aside.

Messages are looked at wholly only now and then: in every second the first of each type, and then each that is longer
than all looked at before. To ask so costs a comparison a frame. A field in an object or in the objects of an array is
named with the way to it: `products[].status`. Pure.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from types import NoneType
from typing import Literal, NamedTuple

import msgspec

EVERY = 1_000_000
"""Microseconds after which every type is looked at again."""
RETOLD_AFTER = 600.0
"""Seconds after which frames that still come with a field of another type are told again."""
NUMBERS = ("int", "float")
NESTING = ("object", "array")
MOST_NEW_FIELDS = 100
"""Of one type of message; one with more has names for data, and is not looked at any more."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DIFFERENCE = re.compile(
    r"(?P<type>[^:]+): (Expected `(?P<expected>[^`]+)`, got `(?P<got>[^`]+)`|Object missing required field"
    r" `(?P<missing>[^`]+)`)( - at `\$\.?(?P<path>.*)`)?"
)
_KINDS = {b'"': "string", b"{": "object", b"[": "array", b"t": "boolean", b"f": "boolean", b"n": "null"}
_KIND_OF_TYPE = {
    str: "string", dict: "object", list: "array", bool: "boolean", NoneType: "null", int: "number", float: "number",
}  # fmt: skip


class Difference(NamedTuple):
    """One way in which a type of message differs.

    Args:
        kind: As the event of it is called.
        expected: The type that the field had; None if it is new.
        got: The type that it has.
    """

    kind: Literal["new_field", "changed_type", "retyped_field"]
    message_type: str
    field: str
    expected: str | None
    got: str

    @property
    def reason(self) -> str:
        """The difference in words."""
        if self.expected is None:
            return f"{self.message_type} has a new field {self.field} ({self.got}); it is kept as received"
        end = "it is kept as received" if self.kind == "retyped_field" else "these are dead letters"
        return f"{self.message_type} has {self.got} in place of {self.expected} in {self.field}; {end}"


class News(NamedTuple):
    """A difference that is to be told.

    Args:
        market: Where it was seen first.
        frames: Of a changed type, how many came since it was told last; else 1.
    """

    difference: Difference
    market: str
    frames: int


class Drift:
    """What of a venue's messages differs, shared by all its feeds.

    Args:
        known: The fields of each type of message; `details.*` says that the names within `details` are data.
        told: Types and fields that were told to be new before.
    """

    def __init__(self, known: Mapping[str, frozenset[str]], told: Iterable[tuple[str, str]] = ()) -> None:
        self.longest = dict.fromkeys(known, 0)
        """By type, the length in bytes beyond which a message is worth `look`."""
        self.counts: dict[Difference, int] = {}
        """How often each difference was seen; one whose frames are kept counts once."""
        self._known = {kind: set(fields) for kind, fields in known.items()}
        self._kinds: dict[str, dict[str, str]] = {kind: {} for kind in known}
        """The JSON type of each field that was looked at."""
        self._looked_into: dict[tuple[str, str], bytes] = {}
        """By type and field, the objects that were looked into last: the exchange's list is mostly as it was."""
        self._new_count = dict.fromkeys(known, 0)
        self._markets: dict[Difference, str] = {}
        self._told: dict[Difference, tuple[int, float]] = {}
        self._look_again_at = 0
        for kind, field in told:
            if kind in self._known:
                self._know(kind, field)

    def now_is(self, microseconds: int) -> None:
        """Have every type looked at again when a second has passed."""
        if microseconds >= self._look_again_at:
            self._look_again_at = microseconds + EVERY
            for kind, count in self._new_count.items():
                self.longest[kind] = 0 if count < MOST_NEW_FIELDS else sys.maxsize

    def look(self, kind: str, message: bytes, market: str, fields: Mapping[str, msgspec.Raw] | None = None) -> None:
        """Look at all fields of a message that could be read.

        Args:
            fields: What is looked at where that is not the message itself.
        """
        self.longest[kind] = len(message)
        if fields is None:
            try:
                fields = _object.decode(message)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                # Its parser passes over what it does not need, broken or not: Bronze will say whether it is.
                return
        for name, raw in fields.items():
            got = _kind_of(raw)
            self._note(kind, name, got, market)
            if got in NESTING:
                self._look_into(kind, name, bytes(raw), market)

    def _look_into(self, kind: str, name: str, value: bytes, market: str) -> None:
        """Look at the fields of the objects in a field, unless they are those of the message before."""
        if self._looked_into.get((kind, name)) == value:
            return
        self._looked_into[kind, name] = value
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            for path, got in _fields_within(name, msgspec.json.decode(value), self._known[kind]):
                self._note(kind, path, got, market)

    def refused(self, reason: str, market: str) -> None:
        """Take note of why a message could not be read, as its dead letter says it; not every reason is a drift."""
        if difference := difference_of(reason):
            self._count(difference, market)

    def news(self, now: float) -> Iterator[News]:
        """Give what is to be told, and count it as told.

        Args:
            now: Seconds of a clock that only grows.
        """
        for difference, count in self.counts.items():
            told, again_at = self._told.get(difference, (0, now))
            if count > told and now >= again_at:
                self._told[difference] = (count, now + RETOLD_AFTER)
                yield News(difference, self._markets[difference], count - told)

    def _note(self, kind: str, name: str, got: str, market: str) -> None:
        """Take note that a message has a field of a JSON type."""
        had = self._kinds[kind].get(name)
        if had == got:
            return
        if name not in self._known[kind]:
            if self._new_count[kind] == MOST_NEW_FIELDS:
                return
            self._know(kind, name)
            self._new_count[kind] += 1
            self._count(Difference("new_field", kind, name, None, got), market)
        if had is None and got != "null":
            self._kinds[kind][name] = got
        elif had is not None and got != "null":
            retyped = Difference("retyped_field", kind, name, had, got)
            if retyped not in self.counts:
                self._count(retyped, market)

    def _know(self, kind: str, name: str) -> None:
        """Take a new field as known, with all that is in it: it is told as one."""
        self._known[kind] |= {name, f"{name}.*"}

    def _count(self, difference: Difference, market: str) -> None:
        self._markets.setdefault(difference, market)
        self.counts[difference] = self.counts.get(difference, 0) + 1


def difference_of(reason: str) -> Difference | None:
    """Read from a dead letter's reason which field has another type; None if that is not why it is one."""
    found = _DIFFERENCE.fullmatch(reason)
    if found is None:
        return None
    path = re.sub(r"\[\d+\]", "[]", found["path"] or "")
    if found["missing"]:
        return Difference(
            "changed_type", found["type"], ".".join(filter(None, (path, found["missing"]))), "a value", "none"
        )
    expected, got = found["expected"], found["got"]
    # A price that is a number all at once is now and then a whole one.
    is_number = got in NUMBERS and expected not in NUMBERS
    return Difference("changed_type", found["type"], path or "the whole", expected, "number" if is_number else got)


def _fields_within(path: str, value: object, known: Container[str]) -> Iterator[tuple[str, str]]:
    """Give the fields of the objects in a value, each with its JSON type, but for those whose names are data."""
    if f"{path}.*" in known:
        return
    if isinstance(value, list):
        for element in value:
            if isinstance(element, dict | list):
                yield from _fields_within(f"{path}[]", element, known)
    elif isinstance(value, dict):
        for name, inner in value.items():
            within = f"{path}.{name}"
            yield within, _KIND_OF_TYPE[type(inner)]
            if isinstance(inner, dict | list):
                yield from _fields_within(within, inner, known)


def _kind_of(raw: msgspec.Raw) -> str:
    """Name the JSON type of a value."""
    return _KINDS.get(bytes(raw).lstrip()[:1], "number")
