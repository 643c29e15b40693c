"""A page of the documentation whose snippets are run: what they say, in their order, and the values they hand on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
VALUE = re.compile(r"(?<![:\w]):([a-z_]+)")


@dataclass(frozen=True)
class Snippet:
    """One fenced piece of a page: what is behind the three backticks, and the text."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Rows:
    """What a statement gave: names of columns, and rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass
class Values:
    """What queries gave so far, by the names of their columns."""

    known: dict[str, Any] = field(default_factory=dict)

    def fill(self, statement: str) -> str:
        """Put the values in that a statement names.

        Raises:
            KeyError: If no query before it gave one.
        """
        return VALUE.sub(lambda found: str(self.known[found[1]]), statement)

    def learn(self, given: Rows) -> None:
        """Keep the first row, and hold every row against what its columns promise."""
        promises = [name for name in given.columns if name.startswith("is_")]
        assert given.rows or not promises, f"no row says whether {', '.join(promises)}"
        for row in given.rows:
            said = dict(zip(given.columns, row, strict=True))
            assert all(said[name] is True for name in promises), said
        if given.rows:
            self.known |= {name: text(value) for name, value in zip(given.columns, given.rows[0], strict=True)}


def snippets(page: Path) -> Iterator[Snippet]:
    """Yield the fenced pieces of a page from above to below."""
    content = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(content):
        yield Snippet(found["kind"], found["text"].strip(), content.count("\n", 0, found.start()) + 1)


def text(value: Any) -> Any:
    """Spell a moment as SQL's literals have it."""
    return value.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(value, datetime) else value


def run_sql(page: Path, kind: str, run: Callable[[str], Rows]) -> int:
    """Run a page's statements of one kind; return how many there were."""
    values = Values()
    statements = [snippet for snippet in snippets(page) if snippet.kind == kind]
    for snippet in statements:
        try:
            values.learn(run(values.fill(snippet.text)))
        except Exception as error:
            raise AssertionError(f"{page.name}, line {snippet.line}: {error}") from error
    return len(statements)
