"""The turn: only its owner may change Silver and Gold, from the branch it opens to the merge.

The turn is one Nessie tag, `turn`: Nessie creates a name once, so two claimants cannot both succeed. The tag stands on
a commit that carries its owner, made before the tag, so that the turn never exists without saying whose it is.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from include.orchestration.hours import Hour
from include.orchestration.nessie import (
    Nessie,
    Reference,
    ReferenceExistsError,
    ReferenceMovedError,
    ReferenceNotFoundError,
)

log = logging.getLogger(__name__)

NAME = "turn"
OF_HOUR = "hour-"
"""What the name of a branch on which an hour is built begins with."""
FAILED = "failed-"
"""What the name of a branch begins with when its attempt is over and it was not published."""
CLAIM = "claim-"
"""What the name of a branch begins with that is made to claim the turn, and dropped within seconds."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far Nessie's clock may be from the claimant's."""


class TurnLostError(Exception):
    """The turn is no longer this attempt's; whatever it does now would not be alone."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose turn it is: one attempt of one Airflow run, and the branch it alone writes on.

    Args:
        claimed_at: ISO 8601, UTC.
    """

    dag_id: str
    run_id: str
    branch: str
    claimed_at: str

    def is_of(self, dag_id: str, run_id: str) -> bool:
        """Whether an attempt of that run owns the turn."""
        return (self.dag_id, self.run_id) == (dag_id, run_id)

    def __str__(self) -> str:
        return f"{self.dag_id} {self.run_id} since {self.claimed_at} on branch {self.branch}"


@dataclass(frozen=True, slots=True)
class Turn:
    """The turn as it stands: its owner, and the hash that tells this turn from every other."""

    owner: Owner
    hash: str


def branch_name(hour: Hour | None, *, dag_id: str, run_id: str, attempt_id: str, try_number: int) -> str:
    """Name the branch of one attempt; no two attempts share a name, not even of a run deleted and remade.

    Args:
        hour: What is worked on; None for work that is of no one hour.
    """
    work = f"{OF_HOUR}{hour.key}" if hour else dag_id.replace("_", "-")
    run = hashlib.sha256(f"{dag_id}/{run_id}/{attempt_id}".encode()).hexdigest()[:8]
    return f"{work}-{run}-{try_number}"


def claim(nessie: Nessie, owner: Owner) -> Turn | None:
    """Take the turn if it is free; return None if somebody has it."""
    scratch = nessie.create(f"{CLAIM}{uuid.uuid4().hex}", at=nessie.empty_hash())
    try:
        scratch = nessie.put_namespace(scratch, NAME, asdict(owner), message=f"Turn of {owner}")
        nessie.create(NAME, at=scratch.hash, source=scratch.name, type="TAG")
    except ReferenceExistsError:
        return None
    finally:
        nessie.delete(scratch)
    return Turn(owner, scratch.hash)


def current(nessie: Nessie) -> Turn | None:
    """Return the turn as it stands now, or None if nobody has it."""
    try:
        tag = nessie.get(NAME)
    except ReferenceNotFoundError:
        return None
    return Turn(Owner(**nessie.namespace_properties(tag.hash, NAME)), tag.hash)


def require(nessie: Nessie, turn_hash: str) -> Turn:
    """Return the turn, if it is still the one with this hash.

    Raises:
        TurnLostError: If it was given back or taken over.
    """
    turn = current(nessie)
    if turn is None or turn.hash != turn_hash:
        holder = f"it is {turn.owner}'s" if turn else "nobody has it"
        raise TurnLostError(f"this attempt no longer has the turn ({holder}); clear take_turn with all that follows it")
    return turn


def end(nessie: Nessie, turn: Turn) -> str | None:
    """End a turn: set its unpublished branch aside, then let the next one in. Safe to repeat.

    The branch goes first. Whoever still writes for the ended attempt can then no longer publish.

    Returns:
        The name under which the branch is kept, or None if there was none to keep.
    """
    kept = set_aside(nessie, turn.owner.branch)
    try:
        nessie.delete(Reference(NAME, "TAG", turn.hash))
    except (ReferenceMovedError, ReferenceNotFoundError):
        log.info("turn of %s had ended already", turn.owner)
    return kept


def set_aside(nessie: Nessie, branch: str) -> str | None:
    """Keep an unpublished branch for inspection under its failed name, and free it from its writers.

    Returns:
        The failed name, or None if there is no such branch.
    """
    name = FAILED + branch
    while True:
        try:
            head = nessie.get(branch)
        except ReferenceNotFoundError:
            return name if _exists(nessie, name) else None
        try:
            nessie.create(name, at=head.hash, source=branch)
        except ReferenceExistsError:
            # An earlier call was cut off half-way, or the branch moved after it was copied: copy it anew.
            kept = nessie.get(name)
            if kept.hash != head.hash:
                nessie.delete(kept)
                continue
        try:
            nessie.delete(head)
        except ReferenceNotFoundError:
            return name
        except ReferenceMovedError:
            log.info("branch %s was written to while it was set aside; copying it again", branch)
            continue
        return name


def forget(nessie: Nessie, *, before: datetime, beginnings: tuple[str, ...] = (FAILED, CLAIM)) -> list[str]:
    """Delete branches that nobody has committed to since `before`; return the names.

    Args:
        beginnings: Of the names of those that are meant. Without a choice it is what attempts have left behind:
            branches kept for inspection, and claims whose maker was killed.
    """
    forgotten = []
    for reference in nessie.references():
        if not reference.name.startswith(beginnings):
            continue
        newest = next(nessie.history(reference.name), None)
        if newest is None or newest.committed_at >= before:
            continue
        try:
            nessie.delete(reference)
        except (ReferenceMovedError, ReferenceNotFoundError):
            log.info("%s has changed and stays", reference.name)
        else:
            forgotten.append(reference.name)
    return forgotten


def drop_unchanged(nessie: Nessie, turn: Turn, *, of: str) -> bool:
    """Drop the turn's branch if nothing was committed to it since it was opened on another; return whether that was so.

    A branch that is gone was dropped or published before, and is not dropped anew.
    """
    try:
        head = nessie.get(turn.owner.branch)
    except ReferenceNotFoundError:
        return False
    since = datetime.fromisoformat(turn.owner.claimed_at) - CLOCK_SKEW
    for commit in nessie.history(of):
        if commit.hash == head.hash:
            nessie.delete(head)
            return True
        if commit.committed_at < since:
            return False
    return False


@dataclass(frozen=True, slots=True)
class Publication:
    """What a merge did to the branch that readers see: its hash before and after, and when that was, ISO 8601."""

    hash_before: str
    hash_after: str
    published_at: str


def publish(nessie: Nessie, turn: Turn, *, into: str, message: str) -> Publication:
    """Merge the turn's branch and drop it. Repeating it after a success, however far it came, changes nothing.

    Raises:
        TurnLostError: If the branch is gone and was never merged.
        MergeConflictError: If something else changed the same tables without having the turn.
    """
    branch = turn.owner.branch
    try:
        head = nessie.get(branch)
        nessie.merge(head, into=into, message=message, properties={"branch": branch})
    except ReferenceNotFoundError:
        head = None
    publication = _publication(nessie, branch, into, since=datetime.fromisoformat(turn.owner.claimed_at) - CLOCK_SKEW)
    if publication is None:
        raise TurnLostError(f"branch {branch} brought nothing to {into}; clear take_turn with all that follows it")
    if head is not None:
        try:
            nessie.delete(head)
        except (ReferenceMovedError, ReferenceNotFoundError):
            log.warning("branch %s was written to after it was merged; what came late is not published", branch)
    return publication


def is_set_aside(nessie: Nessie, branch: str) -> bool:
    """Whether an attempt that wrote on a branch ended without publishing it, and is still kept for inspection."""
    return _exists(nessie, FAILED + branch)


def _publication(nessie: Nessie, branch: str, into: str, *, since: datetime) -> Publication | None:
    for commit in nessie.history(into):
        if commit.properties.get("branch") == branch:
            return Publication(commit.parent, commit.hash, commit.committed_at.isoformat())
        if commit.committed_at < since:
            return None
    return None


def _exists(nessie: Nessie, name: str) -> bool:
    try:
        nessie.get(name)
    except ReferenceNotFoundError:
        return False
    return True
