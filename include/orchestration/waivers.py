"""Leave that a person gave to publish an hour although it breaks a rule: what it is for, and how long it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from include.contracts import ops
from include.orchestration import gate_results
from include.orchestration.hours import Hour
from include.orchestration.lake import open_catalog, rows
from include.quality.judgement import Outcome, Verdict, Waiver
from include.settings import Settings


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for.

    Args:
        hour: The partition key.
        holds_until: ISO 8601 with a zone; None: for as long as the lake has the hour.
    """

    hour: str
    table: str
    rule_id: str
    why: str
    holds_until: str | None

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> Self:
        """Read a form.

        Raises:
            ValueError: If something in it cannot be read.
        """
        texts = {name: str(form[name] or "").strip() for name in ("hour", "table", "rule", "why")}
        if missing := [name for name, text in texts.items() if not text]:
            raise ValueError(f"the form does not say {', '.join(missing)}")
        until = datetime.fromisoformat(form["holds_until"]) if form["holds_until"] else None
        if until is not None and until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return cls(
            hour=Hour.of_key(texts["hour"]).key,
            table=texts["table"],
            rule_id=texts["rule"],
            why=texts["why"],
            holds_until=until.astimezone(UTC).isoformat() if until else None,
        )


FACTS = ("rule_id", "checked_count", "failed_count", "samples", "run_id", "branch")


@dataclass(frozen=True, slots=True)
class Block:
    """A rule that blocked the newest attempt at an hour, as `ops.gate_results` has it.

    Args:
        samples: Up to five broken rows, as JSON.
    """

    table: str
    rule_id: str
    checked_count: int
    failed_count: int
    samples: str | None
    run_id: str
    branch: str

    def as_json(self) -> dict[str, Any]:
        """Give what JSON can carry."""
        return asdict(self)


def holding(settings: Settings, hour: Hour, now: datetime) -> list[Waiver]:
    """Return the waivers of an hour that hold now, as readers see them: the branch of an attempt may be older."""
    with open_catalog(settings, settings.branch) as catalog:
        found = rows(catalog, ops.WAIVERS, f"partition_key == '{hour.key}'").to_pylist()
    return [
        Waiver(row["table_name"], row["rule_id"], row["failed_count"], row["granted_by"], row["why"])
        for row in sorted(found, key=lambda row: row["granted_at"])
        if row["holds_until"] is None or row["holds_until"] > now
    ]


def blocks(settings: Settings, hour: Hour) -> list[Block]:
    """Return what blocked the newest attempt at an hour; nothing if it was not blocked."""
    results = gate_results.of_hour(settings, hour)
    newest = max((row["checked_at"] for row in results), default=None)
    return [
        Block(row["table_name"], *(row[name] for name in FACTS))
        for row in results
        if row["checked_at"] == newest and row["verdict"] == Outcome.BLOCK
    ]


def still_blocking(found: Sequence[Block], waivers: Sequence[Waiver]) -> list[Block]:
    """Return what blocks although these waivers hold."""
    return [block for block in found if not any(waiver.covers(_verdict(block)) for waiver in waivers)]


def _verdict(block: Block) -> Verdict:
    return Verdict(block.table, block.rule_id, "", Outcome.BLOCK, block.checked_count, block.failed_count)
