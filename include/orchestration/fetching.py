"""History from before what is there: chosen in a form, fetched beside the producer, waited for, and named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from confluent_kafka.admin import AdminClient

from include.contracts import topics
from include.orchestration.evidence import as_text, covered_from, end_offsets, read_progress
from include.orchestration.hours import Hour
from include.orchestration.ingestion import FETCH_HISTORY, PRODUCERS
from include.orchestration.triggers import SettledTrigger
from include.settings import CHECKOUT, Settings

MOST_HOURS = 24 * 30
"""How much history may be asked for at a time."""
FETCHERS = {PRODUCERS["coinbase"]: ("coinbase", "streaming.coinbase.past")}
"""By producer: its venue, and what fetches that venue's history. The others show their newest trades, or none."""
FETCHED = (topics.COINBASE_TRADES, topics.EVENTS, topics.PROGRESS)
ALL = "all"

Plan = dict[str, str]
"""What is to be fetched: `module`; `since`, the first hour; `until`, the first hour that is there of every product."""


@task
def plan_history() -> Plan:
    """Say which hours are to be fetched, so that every try fetches the same; nothing unless that is the action.

    Raises:
        AirflowFailException: If the form asks for nothing that can be fetched.
    """
    params, settings = get_current_context()["params"], Settings.load()
    if params["action"] != FETCH_HISTORY:
        return {}
    try:
        venue, module = fetcher(params["service"])
        said = covered_from(read_progress(settings.kafka.address))
        followed = ["/".join(product) for product in settings.followed if product[0] == venue]
        since, until = hours_before(params, [said[product] for product in followed if product in said])
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
    return {"module": module, "since": since.key, "until": until.key}


class FetchHistory(BaseOperator):
    """Fetches the planned history and waits until Bronze has it; the result names the hours that can be built.

    A further try goes on where this one was. What fetches ends with this task, however that ends.

    Args:
        plan: What `plan_history` gave.
    """

    ui_color = "#e6f1f2"
    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, plan: Plan, **kwargs: Any) -> None:  # noqa: ANN401 (Airflow's own arguments)
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Context) -> dict[str, str]:
        """Fetch, and let the triggerer wait.

        Raises:
            AirflowException: If the fetching failed.
        """
        if not self.plan:
            return {}
        self._fetch()
        admin = AdminClient({"bootstrap.servers": Settings.load().kafka.address, "log_level": 0})
        self.defer(trigger=SettledTrigger(as_text(end_offsets(admin, FETCHED))), method_name="settled")

    def settled(self, context: Context, event: dict[str, Any]) -> dict[str, str]:
        """Say what can be built, now that Bronze has it."""
        first, last = self.plan["since"], Hour(Hour.of_key(self.plan["until"]).start - timedelta(hours=1)).key
        if first > last:
            self.log.info("every product had these hours already")
            return {}
        command = backfill(first, last)
        self.log.info("hours %s to %s can be built: in trades_hourly, Trigger → Backfill, or: %s", first, last, command)
        return {"first_hour": first, "last_hour": last, "backfill": command}

    def _fetch(self) -> None:
        command = [sys.executable, "-m", self.plan["module"], self.plan["since"], "--attended"]
        with subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for words in in_words(process.stdout):
                self.log.info(words)
        if process.returncode != 0:
            raise AirflowException(f"the fetching ended with {process.returncode}; its last words are above")


def fetcher(service: str) -> tuple[str, str]:
    """Return venue and module of what fetches the history of a producer's products.

    Raises:
        ValueError: If nothing does.
    """
    chosen = next(iter(FETCHERS)) if service == ALL else service
    if chosen not in FETCHERS:
        raise ValueError(f"nothing fetches history for {service}; choose {' or '.join(FETCHERS)}")
    return FETCHERS[chosen]


def hours_before(form: Mapping[str, Any], covered: Sequence[datetime]) -> tuple[Hour, Hour]:
    """Return the first hour that is wanted, and the first that every product has already.

    Args:
        form: `hours` or `first_hour`.
        covered: From when on each product is covered.

    Raises:
        ValueError: If the form does not say, or says both, or what cannot be.
    """
    if not covered:
        raise ValueError("no product is followed yet: its producer fetches its first history by itself")
    hours, text = form["hours"], form["first_hour"]
    if (hours is None) == (not text):
        raise ValueError("say how many hours, or which is the first, and not both")
    if hours is not None:
        since = _hour(min(covered)).start - timedelta(hours=hours)
    else:
        since = datetime.fromisoformat(text)
        since = since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
    if since != _hour(since).start:
        raise ValueError(f"first_hour {text} is not the start of an hour")
    return Hour(since), _hour(max(covered))


def backfill(first: str, last: str) -> str:
    """Return the command that builds hours, those that were published without the new trades among them."""
    start, end = (f"{Hour.of_key(key).start:%Y-%m-%dT%H:%M:%SZ}" for key in (first, last))
    window = f"--from-date {start} --to-date {end} --reprocess-behavior completed"
    return f"python -m stack run airflow backfill create --dag-id trades_hourly {window}"


def in_words(lines: Iterator[str]) -> Iterator[str]:
    """Say what the fetching's log says: how far it is, in words; other lines as they are."""
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            told = {}
        if isinstance(told, dict) and told.get("message") == "history goes on":
            left = told["seconds_left"]
            words = f"{told['product']}: {told['percent']} %, {told['trades']:,} trades, back to {told['reached']}"
            yield words if left is None else f"{words}, {timedelta(seconds=left)} left"
        else:
            yield line.rstrip()


def _hour(moment: datetime) -> Hour:
    return Hour(moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0))
