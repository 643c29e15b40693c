"""Dead letters: found in Bronze, shown to a person, replayed by the producers' parsers."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.contracts import bronze
from include.contracts.topics import REPLAYS
from include.contracts.venues import VENUES
from include.orchestration.evidence import TopicLog
from include.orchestration.lake import instant, rows
from include.settings import CHECKOUT

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

ANY = "any"
ACTIONS = ("list", "inspect", "replay")
REPLAY = ("-m", "streaming.replays")
FATES = ("replayed", "replayed before", "stays", "gone")
"""What can become of a letter, as the replay's log has it."""
NOTE_LENGTH = 1000
"""Airflow takes no longer note."""
SAMPLES = 5
INSPECTED = 50
"""So many letters are shown in full; a log with more is read by nobody."""

_FACTS = ("_ingested_at", *bronze.OFFSET, "venue", "reason")
_RANGE = re.compile(r"([\w.-]+)/(\d+)/(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant: those for which all holds.

    Args:
        venue: None means any.
        reason: A text that the reason contains; empty means any.
        since: When our producer took the frame; that moment included.
        until: The first moment that is not meant.
        topic: With the partition and offsets: exactly these.
    """

    venue: str | None = None
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    topic: str | None = None
    partition: int = 0
    offsets: range = range(0)

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> Choice:
        """Read the form of the DAG.

        Raises:
            ValueError: If something in it cannot be read; the message says how it is written.
        """
        since, until = _moment(form["since"], "since"), _moment(form["until"], "until")
        if since and until and since >= until:
            raise ValueError(f"since {since} is not before until {until}: no letter would be meant")
        venue = None if form["venue"] == ANY else str(form["venue"])
        choice = cls(venue, str(form["reason"] or ""), since, until)
        if not (written := str(form["offsets"] or "").strip()):
            return choice
        match = _RANGE.fullmatch(written)
        if match is None or int(match[4] or match[3]) < int(match[3]):
            raise ValueError(f"offsets {written!r} is not like coinbase.dlq/0/17 or coinbase.dlq/0/17-20")
        offsets = range(int(match[3]), int(match[4] or match[3]) + 1)
        return cls(choice.venue, choice.reason, since, until, match[1], int(match[2]), offsets)

    @property
    def condition(self) -> str:
        """What of it pyiceberg can ask of the table; the reason is looked at afterwards."""
        parts = [f"venue == '{self.venue}'"] if self.venue else []
        parts += [f"_ingested_at >= '{instant(self.since)}'"] if self.since else []
        parts += [f"_ingested_at < '{instant(self.until)}'"] if self.until else []
        if self.topic:
            topic, partition, offset = bronze.OFFSET
            parts += [
                f"{topic} == '{self.topic}' and {partition} == {self.partition}"
                f" and {offset} >= {self.offsets.start} and {offset} < {self.offsets.stop}"
            ]
        return " and ".join(parts) or "true"


@dataclass(frozen=True, slots=True)
class Found:
    """One dead letter, without its bytes."""

    place: str
    received_at: datetime
    venue: str
    reason: str


@dataclass
class Outcome:
    """What a replay did.

    Args:
        since: When the run was asked for: what an earlier try of it replayed counts to it, too.
        fates: How many letters ended how.
        reasons: Why letters stay, and how many for each.
        hours: Of the trades that were replayed.
    """

    since: datetime
    fates: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    hours: set[str] = field(default_factory=set)

    def note(self, told: Mapping[str, Any]) -> None:
        """Take note of a line of the replay's log."""
        if told.get("message") in FATES and "letter" in told:
            self.fates[told["message"]] += 1
            if not told["at"] or datetime.fromisoformat(told["at"]) >= self.since:
                self.hours |= set(told["hours"])
            if told["message"] == "stays":
                self.reasons[told["reason"]] += 1


def find(catalog: Catalog, choice: Choice) -> list[Found]:
    """Return the letters that are meant, newest first."""
    found = [
        Found(
            place=f"{row['_kafka_topic']}/{row['_kafka_partition']}/{row['_kafka_offset']}",
            received_at=row["_ingested_at"],
            venue=row["venue"] or "unknown",
            reason=row["reason"],
        )
        for row in rows(catalog, bronze.DEAD_LETTERS, choice.condition, _FACTS).to_pylist()
        if choice.reason in row["reason"]
    ]
    return sorted(found, key=lambda letter: (letter.received_at, letter.place), reverse=True)


def contents(catalog: Catalog, letters: Iterable[Found]) -> Iterator[tuple[Found, str]]:
    """Yield letters with what they say: as text, and where that is no UTF-8 with the bytes escaped."""
    by_place = {letter.place: letter for letter in letters}
    topic, partition, offset = bronze.OFFSET
    places = (place.rsplit("/", 2) for place in by_place)
    exactly = " or ".join(f"({topic} == '{t}' and {partition} == {p} and {offset} == {o})" for t, p, o in places)
    columns = (*bronze.OFFSET, "_raw_bytes_base64")
    bodies = {
        f"{row[topic]}/{row[partition]}/{row[offset]}": base64.b64decode(row["_raw_bytes_base64"])
        for row in rows(catalog, bronze.DEAD_LETTERS, exactly or "false", columns).to_pylist()
    }
    for place, letter in by_place.items():
        yield letter, bodies[place].decode(errors="backslashreplace")


def replayed(bootstrap: str) -> set[str]:
    """Return the places of all letters whose replay is done.

    Raises:
        KafkaException: If the broker does not answer.
    """
    log = TopicLog(bootstrap, REPLAYS)
    try:
        newest = dict(log.new_records())
    finally:
        log.close()
    return {place for place, mark in newest.items() if json.loads(mark)["state"] == "done"}


def listing(letters: Iterable[Found], done: set[str]) -> list[str]:
    """Say how many letters there are of each venue and reason, most of all first, and since when."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for letter in letters:
        groups.setdefault((letter.venue, letter.reason), []).append(letter)
    lines = []
    for (venue, reason), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        first, last = (edge(letter.received_at for letter in group) for edge in (min, max))
        of_those = sum(letter.place in done for letter in group)
        again = f", {of_those} replayed" if of_those else ""
        lines.append(
            f"{venue}: {len(group)} since {first:%Y-%m-%dT%H:%MZ}, last {last:%Y-%m-%dT%H:%MZ}{again}: {reason}"
        )
    return lines


def replay(places: Iterable[str], since: datetime, say: Callable[[str], None]) -> Outcome:
    """Replay letters in a process of the producers' own, and return what became of them.

    Args:
        since: When the run was asked for.
        say: Takes each line of its log.

    Raises:
        RuntimeError: If it did not come to its end; the letters that it did not come to are as they were.
    """
    outcome = Outcome(since)
    command = [sys.executable, *REPLAY]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join(places))
        process.stdin.close()
        last = ""
        for line in process.stdout:
            last = line.rstrip()
            say(last)
            outcome.note(_json(last))
    if process.returncode != 0:
        raise RuntimeError(f"the replay ended with {process.returncode}: {last}")
    return outcome


def cut(lines: Iterable[str]) -> str:
    """Join lines as far as a note has room, and say if some are left out."""
    text = "\n".join(lines)
    more = "\n… more in the log"
    return text if len(text) <= NOTE_LENGTH else text[: NOTE_LENGTH - len(more)].rpartition("\n")[0] + more


def venues() -> list[str]:
    """Name what the form offers."""
    return [ANY, *(venue.name for venue in VENUES)]


def _moment(text: str | None, name: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is not a time like 2026-11-20T09:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _json(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
