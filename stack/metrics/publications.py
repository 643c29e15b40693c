"""When hours reached their readers: each is one merge into the catalog's branch, and the merge has a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from include.orchestration.hours import Hour
from include.orchestration.nessie import Commit, Nessie

BRANCH = re.compile(r"hour-(?P<hour>\d{4}-\d\d-\d\dT\d\d)-[0-9a-f]+-\d+")
"""The branch that a publication brings in, which the merge names."""
FIRST_LOOK = timedelta(hours=6)
"""How far back the first look goes."""
LATENCY_SECONDS = (60, 120, 180, 300, 600, 900, 1800, 3600, 2 * 3600, 6 * 3600, 24 * 3600)


class Publications:
    """Follows the history of the branch that readers see; each look reads only the commits since the last one.

    An hour that is built again, or built late beside newer ones, is not counted: its delay says nothing of the stream.
    """

    def __init__(self, api: str, branch: str) -> None:
        self._api = api
        self._branch = branch
        self._seen: str | None = None
        self._through: datetime | None = None
        self._newest_seconds = 0.0
        # Not registered: what it collects is handed on.
        self._seconds = Histogram(
            "gold_publish_seconds",
            "From the end of an hour of exchange time to its publication; its first trades are an hour older.",
            buckets=LATENCY_SECONDS,
            registry=CollectorRegistry(),
        )

    def read(self) -> Sequence[Metric]:
        """Read the commits since the last look.

        Raises:
            NessieError: If the branch is not there.
            httpx.HTTPError: If Nessie does not answer.
        """
        is_first = self._seen is None
        with Nessie(self._api) as nessie:
            news = list(self._news(nessie))
        self.take(reversed(news), is_counted=not is_first)
        if news:
            self._seen = news[0].hash
        return self.tell()

    def take(self, commits: Iterable[Commit], *, is_counted: bool) -> None:
        """Take note of commits, oldest first.

        Args:
            is_counted: Whether their delays count; those of before this service began were counted by the one before.
        """
        for commit in commits:
            published = BRANCH.fullmatch(commit.properties.get("branch", ""))
            if published is None:
                continue
            end = Hour.of_key(published["hour"]).end
            if self._through is not None and end <= self._through:
                continue
            self._through = end
            self._newest_seconds = (commit.committed_at - end).total_seconds()
            if is_counted:
                self._seconds.observe(self._newest_seconds)

    def tell(self) -> Sequence[Metric]:
        """Give Prometheus what is known."""
        through = GaugeMetricFamily("gold_published_through_seconds", "The end of the newest hour that is published.")
        newest = GaugeMetricFamily(
            "gold_newest_publish_seconds", "From the end of that hour to its publication: trade to Gold at the least."
        )
        if self._through is not None:
            through.add_metric((), self._through.timestamp())
            newest.add_metric((), self._newest_seconds)
        return (through, newest, *self._seconds.collect())

    def _news(self, nessie: Nessie) -> Iterator[Commit]:
        """Yield the commits since the last look, newest first."""
        for commit in nessie.history(self._branch):
            if commit.hash == self._seen:
                return
            if self._seen is None and self._is_old(commit):
                return
            yield commit

    def _is_old(self, commit: Commit) -> bool:
        return commit.committed_at < datetime.now(UTC) - FIRST_LOOK
