"""Judging frames: predicates are computed exactly by DuckDB over Arrow, Great Expectations says what follows.

Money stays decimal throughout: it is compared before it becomes a pandas object.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from include.contracts.table import Action, Rule, Table
from include.quality.data_docs import write_pages
from include.renderers import gx

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import AbstractDataContext

log = logging.getLogger(__name__)

SAMPLES = 5


class Outcome(StrEnum):
    """What a gate says of a rule."""

    PASS = "pass"
    IGNORE = "ignore"
    WARN = "warn"
    WAIVED = "waived"
    BLOCK = "block"


OUTCOMES = {Action.IGNORE: Outcome.IGNORE, Action.WARN: Outcome.WARN}
"""What becomes of a broken rule by its action; of any other, it blocks."""


@dataclass(frozen=True, slots=True)
class Check:
    """A promise that one table's contract cannot make alone: it spans tables, or speaks of a whole hour.

    Args:
        table: The table that is judged.
        query: DuckDB SQL over the gate's frames, each named `layer_table`; its rows are what the rules speak of.
        rules: Predicates over the query's columns.
    """

    table: Table
    query: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Waiver:
    """The leave to publish one hour although it breaks one rule of one table.

    Args:
        failed_count: Rows that broke it when leave was given: it is given for no more of them.
        granted_by: Who approved it.
    """

    table: str
    rule_id: str
    failed_count: int
    granted_by: str
    why: str

    def covers(self, verdict: Verdict) -> bool:
        """Whether this is the rule, and breaks no worse than when leave was given."""
        is_named = (verdict.table, verdict.rule_id) == (self.table, self.rule_id)
        return is_named and verdict.failed_count <= self.failed_count


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate found for one rule of one table.

    Args:
        samples: Up to five rows that broke it, values as text.
        waiver: By whose leave it does not block.
    """

    table: str
    rule_id: str
    description: str
    outcome: Outcome
    checked_count: int
    failed_count: int
    samples: tuple[Mapping[str, str | None], ...] = ()
    waiver: Waiver | None = None

    @property
    def samples_json(self) -> str | None:
        """The samples as JSON, or None without any."""
        return json.dumps(self.samples, ensure_ascii=False) if self.samples else None

    @property
    def promise(self) -> str:
        """What the rule promises, and by whose leave it may be broken."""
        if self.waiver is None:
            return self.description
        return f"{self.description}; waived by {self.waiver.granted_by}: {self.waiver.why}"

    def __str__(self) -> str:
        found = f"{self.failed_count} of {self.checked_count} rows break it" if self.failed_count else "holds"
        return f"{self.table} {self.rule_id}: {self.promise}: {found}"


class UnjudgeableError(Exception):
    """A rule could not be evaluated, so nothing is known of the rows."""


def judge(
    tables: Sequence[Table],
    checks: Sequence[Check],
    frames: Mapping[str, pa.Table],
    pages: Path | None = None,
) -> list[Verdict]:
    """Judge tables by their contracts and by checks that span them.

    Args:
        tables: Judged by their contracts.
        checks: What they must satisfy beyond.
        frames: The rows of the hour, by `layer_table`: of each judged table, and of what the checks read besides.
        pages: Where to write what was found as pages, too; that they cannot be written changes no verdict.

    Raises:
        UnjudgeableError: If a rule could not be evaluated.
    """
    from great_expectations import get_context
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    with _connection(frames) as connection:
        judged = [(table, table.rules, gx.suite(table), f"from {frame_name(table)}") for table in tables]
        judged += [
            (check.table, check.rules, gx.rule_suite(check.table, check.rules), f"from ({check.query})")
            for check in checks
        ]
        verdicts = [
            verdict
            for table, rules, suite, rows in judged
            for verdict in _verdicts(context, _evaluated(connection, rows, rules), suite, table, rules)
        ]
    if pages is not None:
        try:
            write_pages(context, pages)
        except Exception:
            log.exception("the pages of the verdicts could not be written to %s", pages)
    return verdicts


def waive(verdicts: Iterable[Verdict], waivers: Sequence[Waiver]) -> list[Verdict]:
    """Let through what blocks and has leave; every other verdict stays as it is.

    Args:
        waivers: Those of the hour that is judged.
    """
    return [_waived(verdict, waivers) if verdict.outcome is Outcome.BLOCK else verdict for verdict in verdicts]


def frame_name(table: Table) -> str:
    """Name a table's frame as queries do: `silver_trades`."""
    return f"{table.layer}_{table.name}"


def fingerprint(frame: pa.Table) -> str:
    """Hash a frame's rows, whatever order they come in: equal rows give an equal hash."""
    with _connection({"frame": frame}) as connection:
        lines = connection.sql("select frame::varchar as line from frame")
        [(digest,)] = lines.aggregate("sha256(coalesce(string_agg(line, chr(10) order by line), ''))").fetchall()
    return str(digest)


def _evaluated(connection: duckdb.DuckDBPyConnection, rows: str, rules: Sequence[Rule]) -> pa.Table:
    """Add to rows, for each rule, whether they satisfy it; what cannot be said counts as broken."""
    holds = "".join(f', coalesce({rule.condition}, false) as "{gx.HOLDS}{rule.id}"' for rule in rules)
    return connection.sql(f"select *{holds} {rows} as judged").to_arrow_table()


def _verdicts(
    context: AbstractDataContext, judged: pa.Table, suite: ExpectationSuite, table: Table, rules: Sequence[Rule]
) -> list[Verdict]:
    by_id = {rule.id: rule for rule in rules}
    verdicts = []
    for result in _validate(context, judged, suite):
        assert result.expectation_config is not None
        rule_id = result.expectation_config.meta["rule_id"]
        rule = by_id.get(rule_id)
        if result.exception_info.get("raised_exception") or "element_count" not in result.result:
            raise UnjudgeableError(f"{table.full_name} {rule_id}: {result.exception_info}")
        broken: list[int] = result.result.get("partial_unexpected_index_list") or []
        failed = int(result.result["unexpected_count"])
        verdicts.append(
            Verdict(
                table=table.full_name,
                rule_id=rule_id,
                description=rule.description if rule else _promise(rule_id, table),
                outcome=_outcome(failed, rule),
                checked_count=int(result.result["element_count"]),
                failed_count=failed,
                samples=tuple(_sample(judged, row) for row in broken[:SAMPLES]) if failed else (),
            )
        )
    return verdicts


def _validate(
    context: AbstractDataContext, judged: pa.Table, suite: ExpectationSuite
) -> list[ExpectationValidationResult]:
    from great_expectations_provider.common.gx_context_actions import run_validation_definition

    batch = context.data_sources.add_pandas(suite.name).add_dataframe_asset(suite.name)
    result = run_validation_definition(
        task_id=suite.name,
        expect=suite,
        batch_definition=batch.add_batch_definition_whole_dataframe(suite.name),
        result_format="SUMMARY",
        # Whole numbers with nulls would become floats, and neighbouring ids one.
        batch_parameters={"dataframe": judged.to_pandas(integer_object_nulls=True)},
        gx_context=context,
    )
    return list(result.results)


def _outcome(failed: int, rule: Rule | None) -> Outcome:
    if not failed:
        return Outcome.PASS
    # A row that should have been in quarantine and is not, blocks.
    return OUTCOMES.get(rule.action, Outcome.BLOCK) if rule is not None else Outcome.BLOCK


def _waived(verdict: Verdict, waivers: Sequence[Waiver]) -> Verdict:
    waiver = next((waiver for waiver in waivers if waiver.covers(verdict)), None)
    return replace(verdict, outcome=Outcome.WAIVED, waiver=waiver) if waiver else verdict


def _promise(rule_id: str, table: Table) -> str:
    if rule_id == gx.GRAIN_UNIQUE:
        return f"({', '.join(table.grain)}) is unique"
    return f"{rule_id.removeprefix(gx.PRESENT)} is not null"


def _sample(judged: pa.Table, row: int) -> dict[str, str | None]:
    values: dict[str, Any] = judged.slice(row, 1).to_pylist()[0]
    return {
        name: None if value is None else str(value)[:200]
        for name, value in values.items()
        if not name.startswith(gx.HOLDS)
    }


@contextmanager
def _connection(frames: Mapping[str, pa.Table]) -> Iterator[duckdb.DuckDBPyConnection]:
    # Nothing is fetched from a network; what a rule needs must be built in.
    with duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    ) as connection:
        for name, frame in frames.items():
            connection.register(name, _without_zone(frame))
        yield connection


def _without_zone(frame: pa.Table) -> pa.Table:
    """Give instants as UTC clock readings: DuckDB's zoned type needs an extension to be truncated to a minute."""
    for index, field in enumerate(frame.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            column = frame.column(index).cast(pa.timestamp("us"))
            frame = frame.set_column(index, field.name, column)
    return frame
