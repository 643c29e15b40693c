import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.settings import Settings
from stack.metrics.alerts import Messenger
from tests.drivers.webhook import webhook

# Apprise loads all its plugins, of which one asks for a module that Python is about to drop.
pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore:.imghdr. is deprecated:DeprecationWarning")]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def told(*, ends: datetime, severity: str = "failure") -> bytes:
    """An alert as Prometheus tells it: one that fires ends some minutes ahead, unless it is told again."""
    alert = {
        "labels": {"alertname": "FeedStalled", "venue": "coinbase", "severity": severity},
        "annotations": {"summary": "nothing is heard", "description": "Read the log.", "runbook": "docs/runbook.md#x"},
        "startsAt": NOON.isoformat().replace("+00:00", "Z"),
        "endsAt": ends.isoformat().replace("+00:00", "Z"),
        "generatorURL": "http://127.0.0.1:9090/graph",
    }
    return json.dumps([alert]).encode()


@pytest.fixture
def hook():
    with webhook() as listening:
        yield listening


@pytest.fixture
def messenger(tmp_path: Path, hook):
    return Messenger(Settings(state_dir=tmp_path, alert_urls=(hook.apprise_url,)), now=lambda: NOON)


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "alerts.ndjson").read_text().splitlines()]


def test_an_alert_that_is_told_again_and_again_reaches_people_once(messenger, hook, tmp_path: Path):
    for minutes in (4, 5, 6):
        messenger.take(told(ends=NOON + timedelta(minutes=minutes)))

    [line] = lines(tmp_path)
    assert (line["alert"], line["summary"], line["severity"]) == ("FeedStalled", "nothing is heard", "failure")
    assert [(post["title"], post["type"]) for post in hook.posts] == [("nothing is heard", "failure")]
    assert hook.posts[0]["message"].splitlines() == ["nothing is heard", "Read the log.", "do: docs/runbook.md#x"]


def test_its_end_is_told_once_too_and_it_may_begin_again(messenger, tmp_path: Path):
    for ends in (4, -1, -1, 4):
        messenger.take(told(ends=NOON + timedelta(minutes=ends)))

    assert [line["severity"] for line in lines(tmp_path)] == ["failure", "over", "failure"]


def test_an_end_without_a_beginning_is_not_told(messenger, hook, tmp_path: Path):
    messenger.take(told(ends=NOON - timedelta(minutes=1)))

    assert hook.posts == []
    assert not (tmp_path / "alerts.ndjson").exists()


@pytest.mark.parametrize("body", [b"{}", b"[", b"null"])
def test_what_is_no_list_of_alerts_is_refused(messenger, body: bytes):
    with pytest.raises(ValueError, match=r"list|Expecting"):
        messenger.take(body)


def test_an_alertmanager_in_between_changes_nothing(messenger, tmp_path: Path):
    (alert,) = json.loads(told(ends=NOON))
    firing = {**alert, "status": "firing", "endsAt": "0001-01-01T00:00:00Z"}
    for one in (firing, firing, {**alert, "status": "resolved"}):
        messenger.take(json.dumps({"version": "4", "status": one["status"], "alerts": [one]}).encode())

    assert [line["severity"] for line in lines(tmp_path)] == ["failure", "over"]
