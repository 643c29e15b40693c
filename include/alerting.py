"""Where alerts go: the log and the alerts file always, and any chat or webhook that the settings name."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from include.settings import Settings

log = logging.getLogger(__name__)

Severity = Literal["failure", "warning", "success"]


def deliver(settings: Settings, record: Mapping[str, object], *, title: str, body: str, severity: Severity) -> None:
    """Send an alert everywhere it should go; one way that fails does not stop the others.

    Args:
        record: The line of the alerts file, as JSON can carry it; the time is added.
        body: The alert as a person reads it.

    Raises:
        ExceptionGroup: If any way failed, after all were tried.
    """
    log.error("ALERT %s", body)
    failures: list[Exception] = []
    try:
        line = json.dumps({"at": datetime.now(UTC).isoformat(), **record}, ensure_ascii=False)
        settings.alerts_file.parent.mkdir(parents=True, exist_ok=True)
        with settings.alerts_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        failures.append(error)
    if settings.alert_urls:
        try:
            _notify(settings.alert_urls, title, body, severity)
        except Exception as error:
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"alert could not be sent everywhere: {title}", failures)


def _notify(urls: tuple[str, ...], title: str, body: str, severity: Severity) -> None:
    from apprise import Apprise, NotifyType

    apprise = Apprise()
    refused = [url for url in urls if not apprise.add(url)]
    kinds = {"failure": NotifyType.FAILURE, "warning": NotifyType.WARNING, "success": NotifyType.SUCCESS}
    if len(apprise) and not apprise.notify(body=body, title=title[:200], notify_type=kinds[severity]):
        raise RuntimeError("Apprise could not deliver to every URL; its log says which")
    if refused:
        raise ValueError(f"Apprise cannot read {len(refused)} of the URLs in LAKE_ALERT_URLS")
