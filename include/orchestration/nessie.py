"""References of the Nessie catalog: branches to write on, tags that mark, and merges between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

import httpx

RefType = Literal["BRANCH", "TAG"]

NO_SNAPSHOT = -1
"""What Nessie says of a table into which nothing was written yet."""


class NessieError(Exception):
    """Nessie refused a request, in its own words."""


class ReferenceExistsError(NessieError):
    """The name is taken."""


class ReferenceNotFoundError(NessieError):
    """There is no reference of that name."""


class ReferenceMovedError(NessieError):
    """The reference is not at the hash that the caller expected."""


class MergeConflictError(NessieError):
    """Both sides changed the same table since they parted."""


_ERRORS: dict[str, type[NessieError]] = {
    "REFERENCE_ALREADY_EXISTS": ReferenceExistsError,
    "REFERENCE_NOT_FOUND": ReferenceNotFoundError,
    "REFERENCE_CONFLICT": ReferenceMovedError,
}


@dataclass(frozen=True, slots=True)
class Reference:
    """A branch or tag, and the commit that it stands on."""

    name: str
    type: RefType
    hash: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a name stands for as of a commit.

    Args:
        name: `namespace.table`.
        type: `ICEBERG_TABLE`, `ICEBERG_VIEW`, …
        metadata_location: Its Iceberg metadata file; None of what has none.
        snapshot_id: A table's current snapshot; None of an empty table, and of what is none.
    """

    name: str
    type: str
    metadata_location: str | None
    snapshot_id: int | None


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a reference's history.

    Args:
        contents: What it put there, if that was asked for.
    """

    hash: str
    parent: str
    committed_at: datetime
    properties: Mapping[str, str]
    contents: tuple[Content, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a branch stands to another: how many commits each has that the other lacks, and where they parted."""

    ahead: int
    behind: int
    base: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What one name stands for as of two commits; None where it is not there."""

    name: str
    before: Content | None
    after: Content | None


class Nessie:
    """A client of one Nessie server; every call is one request and raises when Nessie refuses it.

    Args:
        api: The root of its API, version 2.
        timeout_s: Longest wait for one answer, in seconds.
    """

    def __init__(self, api: str, *, timeout_s: float = 10.0) -> None:
        self._http = httpx.Client(base_url=api, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def empty_hash(self) -> str:
        """Return the hash from which all histories start."""
        return str(self._call("GET", "/config")["noAncestorHash"])

    def get(self, name: str) -> Reference:
        """Return a reference.

        Raises:
            ReferenceNotFoundError: If there is none of that name.
        """
        return _reference(self._call("GET", f"/trees/{name}")["reference"])

    def standing(self, name: str) -> Standing:
        """Return how a branch stands to the server's default branch, `main`.

        Raises:
            ReferenceNotFoundError: If there is none of that name.
        """
        row = self._call("GET", f"/trees/{name}", params={"fetch": "ALL"})["reference"]["metadata"]
        return Standing(row["numCommitsAhead"] or 0, row["numCommitsBehind"] or 0, row["commonAncestorHash"])

    def differences(self, before: str, after: str) -> list[Difference]:
        """Return what differs between two commits, each `name`, `name@hash` or `@hash`; in the order of the names."""
        rows = [row for page in self._pages(f"/trees/{before}/diff/{after}") for row in page["diffs"]]
        found = [
            Difference(_name(key), *(_content(key, row[side]) if row.get(side) else None for side in ("from", "to")))
            for row in rows
            for key in [row["key"]]
        ]
        return sorted(found, key=lambda difference: difference.name)

    def references(self) -> list[Reference]:
        """Return all branches and tags."""
        return [_reference(row) for page in self._pages("/trees") for row in page["references"]]

    def create(self, name: str, *, at: str, source: str | None = None, type: RefType = "BRANCH") -> Reference:
        """Create a reference.

        Args:
            name: Its name; without slashes, which the Iceberg REST address cannot carry.
            at: The commit it stands on.
            source: The branch or tag on which that commit lies; None for a commit that no name need reach.
            type: What to create.

        Raises:
            ReferenceExistsError: If the name is taken.
        """
        origin = {"type": "BRANCH", "name": source, "hash": at} if source else {"type": "DETACHED", "hash": at}
        answer = self._call("POST", "/trees", params={"name": name, "type": type}, json=origin)
        return _reference(answer["reference"])

    def delete(self, reference: Reference) -> None:
        """Delete a reference, if it still stands where the caller saw it.

        Raises:
            ReferenceMovedError: If it has moved, or was deleted and made anew.
            ReferenceNotFoundError: If it is gone.
        """
        path = f"/trees/{reference.name}@{reference.hash}"
        self._call("DELETE", path, params={"type": reference.type.lower()})

    def put_namespace(self, branch: Reference, name: str, properties: Mapping[str, str], *, message: str) -> Reference:
        """Commit a namespace with properties to a branch, and return where the branch then stands.

        Raises:
            ReferenceMovedError: If the branch is no longer where the caller saw it.
        """
        content = {"type": "NAMESPACE", "elements": [name], "properties": dict(properties)}
        answer = self._call(
            "POST",
            f"/trees/{branch.name}@{branch.hash}/history/commit",
            json={
                "commitMeta": {"message": message},
                "operations": [{"type": "PUT", "key": {"elements": [name]}, "content": content}],
            },
        )
        return _reference(answer["targetBranch"])

    def namespace_properties(self, at: str, name: str) -> dict[str, str]:
        """Return the properties of a namespace as of a commit."""
        return dict(self._call("GET", f"/trees/@{at}/contents/{name}")["content"]["properties"])

    def contents(self, at: str) -> Iterator[Content]:
        """Yield all that a commit knows: tables, views, namespaces."""
        for page in self._pages(f"/trees/@{at}/entries", content="true"):
            for entry in page["entries"]:
                yield _content(entry["name"], entry["content"])

    def merge(self, source: Reference, *, into: str, message: str, properties: Mapping[str, str]) -> None:
        """Bring all commits of a branch into another, atomically; merging a second time does nothing.

        Raises:
            MergeConflictError: If both sides changed the same table since they parted.
            ReferenceNotFoundError: If either branch is gone.
        """
        target = self.get(into)
        try:
            self._call(
                "POST",
                f"/trees/{target.name}@{target.hash}/history/merge",
                json={
                    "fromRefName": source.name,
                    "fromHash": source.hash,
                    "commitMeta": {"message": message, "properties": dict(properties)},
                },
            )
        except ReferenceMovedError as refused:
            raise MergeConflictError(str(refused)) from refused

    def history(self, name: str, *, with_contents: bool = False) -> Iterator[Commit]:
        """Yield the commits of a reference, newest first.

        Args:
            with_contents: Whether they are to say what they put there, too.
        """
        fetch = {"fetch": "ALL"} if with_contents else {}
        for page in self._pages(f"/trees/{name}/history", **{"max-records": "100"}, **fetch):
            for entry in page["logEntries"]:
                meta = entry["commitMeta"]
                yield Commit(
                    hash=meta["hash"],
                    parent=meta["parentCommitHashes"][0],
                    committed_at=_time(meta["commitTime"]),
                    properties={key: values[0] for key, values in meta.get("allProperties", {}).items() if values},
                    contents=tuple(
                        _content(operation["key"], operation["content"])
                        for operation in entry.get("operations") or ()
                        if operation["type"] == "PUT"
                    ),
                )

    def _pages(self, path: str, **params: str) -> Iterator[dict[str, Any]]:
        token: str | None = None
        while True:
            page = self._call("GET", path, params=params | ({"page-token": token} if token else {}))
            yield page
            if not page["hasMore"]:
                return
            token = page["token"]

    def _call(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: object = None
    ) -> dict[str, Any]:
        answer = self._http.request(method, path, params=params, json=json)
        if answer.is_success:
            return dict(answer.json())
        try:
            refusal = answer.json()
        except ValueError:
            answer.raise_for_status()
            raise
        error = _ERRORS.get(refusal.get("errorCode", ""), NessieError)
        raise error(f"{method} {path}: {refusal.get('message', answer.text)}")


def _reference(row: Mapping[str, Any]) -> Reference:
    return Reference(name=row["name"], type=row["type"], hash=row["hash"])


def _content(key: Mapping[str, Any], content: Mapping[str, Any]) -> Content:
    snapshot = content.get("snapshotId", NO_SNAPSHOT)
    return Content(
        name=_name(key),
        type=content["type"],
        metadata_location=content.get("metadataLocation"),
        snapshot_id=None if snapshot == NO_SNAPSHOT else snapshot,
    )


def _name(key: Mapping[str, Any]) -> str:
    return ".".join(key["elements"])


def _time(text: str) -> datetime:
    # Nessie writes nanoseconds, or none at all when they are zero; Python reads at most microseconds.
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00")
