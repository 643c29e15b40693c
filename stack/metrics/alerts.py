"""Brings the alerts of Prometheus to people, by the way that all alerts of the lake go.

It takes what Prometheus tells an Alertmanager (API version 2): all alerts that fire, again and again, and for a while
those that do no more. Where there is an Alertmanager, it takes what that tells a webhook: the same alerts, enveloped.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from include.alerting import Severity, deliver
from include.settings import Settings

log = logging.getLogger(__name__)

Name = frozenset[tuple[str, str]]


class Messenger:
    """Tells each alert once when it begins, and once when it is over."""

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._now = now
        self._firing: set[Name] = set()
        self._lock = threading.Lock()

    def take(self, body: bytes) -> None:
        """Take what Prometheus or an Alertmanager tells.

        Raises:
            ValueError: If it is not a list of alerts.
        """
        told = json.loads(body)
        alerts = told.get("alerts") if isinstance(told, dict) else told
        if not isinstance(alerts, list):
            raise ValueError("no list of alerts")
        with self._lock:
            for alert in alerts:
                self._take(alert)

    def _take(self, alert: Mapping[str, Any]) -> None:
        name = frozenset(alert["labels"].items())
        ends = alert.get("endsAt")
        # An Alertmanager says `0001-01-01` as the end of what goes on, and which it is in words.
        is_over = alert.get("status", "resolved") == "resolved" and _is_past(ends, self._now())
        if is_over is not (name in self._firing):
            return
        (self._firing.remove if is_over else self._firing.add)(name)
        try:
            self._tell(alert["labels"], alert["annotations"], is_over=is_over)
        except ExceptionGroup:
            log.exception("the alert above did not reach everyone")

    def _tell(self, labels: Mapping[str, str], words: Mapping[str, str], *, is_over: bool) -> None:
        summary = f"{'over: ' if is_over else ''}{words['summary']}"
        body = f"{summary}\n{words['description']}\ndo: {words['runbook']}"
        record = {
            "severity": "over" if is_over else labels["severity"],
            "summary": summary,
            "alert": labels["alertname"],
            "labels": dict(labels),
            "description": words["description"],
            "runbook": words["runbook"],
        }
        severity: Severity = "success" if is_over else "failure" if labels["severity"] == "failure" else "warning"
        deliver(self._settings, record, title=summary, body=body, severity=severity)


def _is_past(moment: str | None, now: datetime) -> bool:
    return moment is not None and datetime.fromisoformat(moment) <= now
