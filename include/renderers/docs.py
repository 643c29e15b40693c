"""Contracts as a page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.contracts import TABLES, TOPICS
from include.contracts.table import Action, Layer, Rule, Table
from include.contracts.topics import topics_of

if TYPE_CHECKING:
    from datetime import timedelta

    from include.contracts.topics import Topic

HEAD = """\
# Tables

Written by `python -m include.renderers` from `include/contracts`; change it there. Timestamps are UTC, to the
microsecond. `?` after a type means that the value may be missing.
"""

LAYERS = {
    Layer.BRONZE: "append-only, exactly as received",
    Layer.SILVER: "typed, deduplicated, validated; an hour is replaced as a whole",
    Layer.GOLD: "what people read",
    Layer.OPS: "what the pipeline says about itself",
    Layer.ARCHIVE: "what Bronze no longer keeps",
}


def tables_page() -> str:
    """Return `docs/tables.md`: every table and topic, with what it promises."""
    parts = [HEAD, _contents()]
    for layer, meaning in LAYERS.items():
        parts.append(f"## {layer.capitalize()}: {meaning}\n")
        parts += [_section(table) for table in TABLES if table.layer is layer]
    parts.append("## Kafka topics\n")
    parts.append(_topics())
    return "\n".join(parts)


def _contents() -> str:
    rows = [f"| [`{t.full_name}`](#{t.layer}{t.name}) | {t.description} |" for t in TABLES]
    return "\n".join(["| table | a row is |", "| --- | --- |", *rows, ""])


def _section(table: Table) -> str:
    facts = [
        ("one row per", _names(table.grain)),
        ("partitioned by", _names(table.partitioned_by) or "nothing"),
        ("sorted by", _names(table.sorted_by)),
        ("hour of a row", f"`{table.hour_column}`" if table.hour_column else ""),
        ("replaced at once", span(table.window) if table.layer is Layer.GOLD and table.hour_column else ""),
        ("written by", "a streaming query, on `main`" if table.streamed else ""),
        ("made from", _names(table.made_from or tuple(topic.name for topic in topics_of(table.full_name)))),
        ("owner", table.owner),
        ("fresh within", span(table.freshness)),
        ("kept for", span(table.retention) or "ever"),
    ]
    lines = [f"### {table.full_name}", "", table.description, ""]
    lines += [f"- {name}: {value}" for name, value in facts if value]
    lines += ["", "| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{c.name}` | {c.type}{'' if c.required else '?'} | {c.unit or ''} | {_cell(c.description)} |"
        for c in table.columns
    ]
    if table.rules:
        lines += ["", "| rule | promise | holds if | else |", "| --- | --- | --- | --- |"]
        lines += [f"| `{r.id}` | {r.description} | `{_cell(r.condition)}` | {_else(r)} |" for r in table.rules]
    return "\n".join([*lines, ""])


def _else(rule: Rule) -> str:
    """Say what happens when a rule does not hold."""
    return f"quarantine, up to {rule.up_to} of the rows" if rule.action is Action.QUARANTINE else str(rule.action)


def _topics() -> str:
    rows = [
        f"| `{t.name}` | {_cell(t.description)} | {t.key} | {t.partitions} | {kept(t)} "
        f"| {f'`{t.consumer_group}`' if t.consumer_group else ''} |"
        for t in TOPICS
    ]
    head = ["| topic | holds | key | partitions | kept for | read by group |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])


def kept(topic: Topic) -> str:
    """Say for how long a topic keeps a record."""
    return "the newest of each key" if topic.compacted else span(topic.retention)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def span(span: timedelta | None) -> str:
    """Say a span in its largest whole unit."""
    if span is None:
        return ""
    for seconds, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count, rest = divmod(int(span.total_seconds()), seconds)
        if rest == 0:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise ValueError(f"{span} is not a whole number of seconds")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
