"""Branches for people: the whole lake to try something on, which no reader sees before it is merged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from include.contracts.table import Layer
from include.orchestration.nessie import (
    Content,
    Difference,
    MergeConflictError,
    Nessie,
    Reference,
    ReferenceExistsError,
    ReferenceMovedError,
    ReferenceNotFoundError,
)
from include.orchestration.turn import CLAIM, FAILED
from include.orchestration.turn import NAME as TURN

PREFIX = "dev-"
"""What the name of a person's branch begins with: nothing that an hour makes does."""
SAFE = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
RESERVED = (TURN, "main")
RESERVED_BEGINNINGS = (FAILED, CLAIM, "hour-")
HEAD = "head"
"""The property of a merge's commit that says on which commit the branch stood."""
MERGEABLE = (Layer.SILVER, Layer.GOLD)
"""What a person may change: Bronze and what the pipeline says of itself are appended to on `main` all the time."""


class BranchError(Exception):
    """A person asked for what cannot be; the text says what can."""


def branch_name(name: str) -> str:
    """Return the name of a person's branch in the catalog: `x` and `dev-x` are both `dev-x`.

    Raises:
        BranchError: If the name is reserved, or cannot be part of an address or of SQL.
    """
    short = name.removeprefix(PREFIX)
    if name in RESERVED or name.startswith(RESERVED_BEGINNINGS):
        raise BranchError(f"the name {name} is the pipeline's own: choose another, such as wider-candles")
    if not SAFE.fullmatch(short):
        raise BranchError(
            f"{name!r} cannot name a branch: use up to 40 small letters, digits and dashes, such as wider-candles"
        )
    return PREFIX + short


@dataclass(frozen=True, slots=True)
class TableChange:
    """What a branch made of one table or view since it left `main`.

    Args:
        name: `layer.name`.
        before: As it was where the branch left `main`; None if it is new.
        after: As it is on the branch; None if it was dropped.
        is_changed_on_main: Whether `main` has changed it since, too, so that it cannot be merged.
    """

    name: str
    before: Content | None
    after: Content | None
    is_changed_on_main: bool

    @property
    def kind(self) -> str:
        """`added`, `dropped` or `changed`."""
        if self.before is None:
            return "added"
        return "dropped" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class Changes:
    """All that a branch changed since it left `main`, and how far `main` has gone on.

    Args:
        base: The commit of `main` at which it left.
        head: The commit on which it stands.
        behind: How many commits `main` has that the branch lacks.
    """

    branch: str
    base: str
    head: str
    behind: int
    tables: tuple[TableChange, ...]

    @property
    def conflicts(self) -> tuple[str, ...]:
        """The tables that both sides changed."""
        return tuple(table.name for table in self.tables if table.is_changed_on_main)


def create(nessie: Nessie, name: str, *, main: str) -> Reference:
    """Branch off what readers see; nothing is copied, so it takes as long whatever the lake holds.

    Raises:
        BranchError: If the name is no good, or taken.
    """
    branch = branch_name(name)
    at = nessie.get(main)
    try:
        return nessie.create(branch, at=at.hash, source=at.name)
    except ReferenceExistsError as taken:
        raise BranchError(f"there is a branch {branch} already: choose another name, or drop it first") from taken


def development(nessie: Nessie) -> list[Reference]:
    """Return all branches of people, by name."""
    return sorted((ref for ref in nessie.references() if ref.name.startswith(PREFIX)), key=lambda ref: ref.name)


def get(nessie: Nessie, name: str) -> Reference:
    """Return a person's branch.

    Raises:
        BranchError: If there is none of that name; the text has those that there are.
    """
    branch = branch_name(name)
    try:
        return nessie.get(branch)
    except ReferenceNotFoundError as missing:
        there = ", ".join(ref.name for ref in development(nessie)) or "there is none at all"
        raise BranchError(f"there is no branch {branch}; {there}") from missing


def drop(nessie: Nessie, name: str) -> Reference:
    """Delete a person's branch, with all that was not merged; return it as it stood.

    Raises:
        BranchError: If there is none of that name.
    """
    branch = get(nessie, name)
    nessie.delete(branch)
    return branch


def changes(nessie: Nessie, name: str, *, main: str) -> Changes:
    """Compare a branch with where it left `main`, and `main` with it.

    Raises:
        BranchError: If there is none of that name.
    """
    branch = get(nessie, name)
    standing = nessie.standing(branch.name)
    own = _tables(nessie.differences(f"{main}@{standing.base}", f"{branch.name}@{branch.hash}"))
    mains = {difference.name for difference in _tables(nessie.differences(f"{main}@{standing.base}", main))}
    tables = tuple(TableChange(each.name, each.before, each.after, each.name in mains) for each in own)
    return Changes(branch.name, standing.base, branch.hash, standing.behind, tables)


def refuse_unmergeable(found: Changes) -> None:
    """Say why a branch cannot be merged, if it cannot, and what to do.

    Raises:
        BranchError: If it changed nothing, what no person may change, or what `main` changed, too.
    """
    if not found.tables:
        raise BranchError(f"{found.branch} has changed nothing since it left main: there is nothing to merge")
    foreign = [table.name for table in found.tables if not table.name.startswith(tuple(f"{x}." for x in MERGEABLE))]
    if foreign:
        raise BranchError(
            f"{found.branch} changed {', '.join(foreign)}: only Silver and Gold are merged, for the rest is "
            "appended to on main all the time; make a branch anew and leave that out"
        )
    if found.conflicts:
        raise BranchError(conflict(found.branch, ", ".join(found.conflicts)))


def conflict(branch: str, what: str) -> str:
    """Say what to do when both sides changed a table."""
    return (
        f"main has changed {what} since {branch} left it, so merging would lose one side: drop {branch}, create it "
        "again, run the same commands on it, and merge before the next hour is published"
    )


def merge(nessie: Nessie, found: Changes, *, into: str, by: str) -> None:
    """Bring a branch into `main` as it stood when it was compared, in one commit. Call it with the turn.

    Args:
        by: Who merges, for the commit's message.

    Raises:
        BranchError: If `main` has changed one of its tables since.
    """
    head = Reference(found.branch, "BRANCH", found.head)
    tables = ", ".join(table.name for table in found.tables)
    message = f"Merge {found.branch}, {by}: {tables}"
    try:
        nessie.merge(head, into=into, message=message, properties={"branch": found.branch, HEAD: found.head})
    except MergeConflictError as refused:
        raise BranchError(f"{conflict(found.branch, 'the same tables')} ({refused})") from refused


def is_merged(nessie: Nessie, head: str, *, into: str, since: datetime) -> bool:
    """Whether a branch was merged since a moment, as it stood on a commit."""
    for commit in nessie.history(into):
        if commit.properties.get(HEAD) == head:
            return True
        if commit.committed_at < since:
            return False
    return False


def end(nessie: Nessie, name: str, head: str) -> bool:
    """Delete a branch that is merged; whether it is gone. It stays if something was written to it meanwhile.

    To go on with it would be a trap: Nessie compares it with where it first left `main`, and would find a conflict with
    its own merge.
    """
    try:
        nessie.delete(Reference(branch_name(name), "BRANCH", head))
    except ReferenceNotFoundError:
        return True
    except ReferenceMovedError:
        return False
    return True


def _tables(differences: list[Difference]) -> list[Difference]:
    return [each for each in differences if not {"NAMESPACE"} >= {side.type for side in _sides(each)}]


def _sides(difference: Difference) -> list[Content]:
    return [side for side in (difference.before, difference.after) if side is not None]
