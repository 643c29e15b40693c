"""Judging one hour of a layer, wherever it stands: on the branch of an attempt, or on a person's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from include.contracts.table import Layer, Table
from include.orchestration import waivers
from include.orchestration.hour_frames import READERS, Frames
from include.orchestration.hours import Hour
from include.quality import GATES
from include.quality.judgement import Outcome, Verdict, judge, waive
from include.renderers import gx
from include.settings import Settings


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of an hour of a layer.

    Args:
        tables: Those that were judged by their contracts.
        frames: The rows that were read, by `layer_table`.
        verdicts: One for each rule; what somebody has waived is marked so.
    """

    tables: Sequence[Table]
    frames: Frames
    verdicts: Sequence[Verdict]

    @property
    def blocked(self) -> list[Verdict]:
        """The verdicts that keep the hour from being published."""
        return [verdict for verdict in self.verdicts if verdict.outcome is Outcome.BLOCK]

    @property
    def warned(self) -> list[Verdict]:
        """The verdicts that people should know of although the hour goes on."""
        return [verdict for verdict in self.verdicts if verdict.outcome in (Outcome.WARN, Outcome.WAIVED)]


def judge_hour(settings: Settings, layer: Layer, ref: str, hour: Hour, pages: Path | None = None) -> Judgement:
    """Hold a layer's hour on a branch, or as of `branch@hash`, against all its rules but those waived for it.

    Args:
        pages: Where to write what was found as pages, too.

    Raises:
        UnjudgeableError: If a rule could not be evaluated.
    """
    gx.quieten()
    tables, checks = GATES[layer]
    frames = READERS[layer](settings, ref, hour)
    found = Judgement(tables, frames, judge(tables, checks, frames, pages))
    if not found.blocked:
        return found
    return Judgement(tables, frames, waive(found.verdicts, waivers.holding(settings, hour, datetime.now(UTC))))
