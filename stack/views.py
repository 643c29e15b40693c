"""How things look in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from rich.table import Table

from include.settings import Settings
from stack import console
from stack.demo import PUBLISHED, Moment
from stack.doctor import Finding
from stack.kafka_view import Lag
from stack.status import ServiceStatus
from stack.summary import Completeness

COLOURS = {"ready": "green", "stopped": "dim", "not ready": "yellow", "crashing": "red", "failed": "red"}
CANDLE_STATUSES = ("complete", "empty", "gap", "open")
CANDLE = ("minute (UTC)", "product", "open", "high", "low", "close", "volume", "trades", "status")
NUMBERS = ("open", "high", "low", "close", "volume", "trade_count")


def services(found: Sequence[ServiceStatus]) -> Table:
    """Lay out the services, the sum of their memory below."""
    table = Table(box=None, pad_edge=False, show_footer=True)
    for name in ("service", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("port", no_wrap=True)
    total = sum(status.memory or 0 for status in found)
    table.add_column("memory", justify="right", no_wrap=True, footer=_megabytes(total))
    table.add_column("what it does")
    for status in found:
        ports = " ".join(str(endpoint.port) for endpoint in status.service.ports)
        memory = "" if status.memory is None else _megabytes(status.memory)
        state = f"[{COLOURS[status.state]}]{status.state}[/]"
        table.add_row(status.service.name, state, str(status.pid or ""), ports, memory, status.service.purpose)
    return table


def lags(found: Iterable[Lag]) -> Table:
    """Lay out how far each consumer group is behind."""
    table = Table(box=None, pad_edge=False)
    for name in ("topic", "consumer group"):
        table.add_column(name, no_wrap=True)
    for name in ("records", "behind"):
        table.add_column(name, justify="right", no_wrap=True)
    for lag in found:
        behind = "nothing read yet" if lag.behind is None else f"{lag.behind:,}"
        table.add_row(lag.topic, lag.group, f"{lag.end:,}", behind)
    return table


def findings(found: Iterable[Finding]) -> Table:
    """Lay out what the doctor found."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for finding in found:
        sign = "[red]✗[/]" if finding.is_fault else "[yellow]![/]" if finding.advice else "[green]✓[/]"
        table.add_row(
            sign, finding.what, f"{finding.found}. [bold]{finding.advice}[/]" if finding.advice else finding.found
        )
    return table


def moment(now: Moment) -> Table:
    """Lay out how far the demo is."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    if any(share < 1 for share in now.history.values()):
        shares = "  ".join(f"{product} {share:.0%}" for product, share in sorted(now.history.items()))
        table.add_row("history", shares)
    for hour, state in now.hours.items():
        table.add_row(hour, "[green]published[/]" if state == PUBLISHED else state)
    return table


def candles(found: Iterable[Mapping[str, object]]) -> Table:
    """Lay out candles."""
    table = Table(box=None, pad_edge=False, title="newest candles (gold.ohlcv_1m)", title_justify="left")
    for column in CANDLE:
        table.add_column(column, no_wrap=True, justify="left" if column in ("product", "status") else "right")
    for candle in found:
        start = candle["window_start"]
        minute = f"{start:%Y-%m-%d %H:%M}" if isinstance(start, datetime) else str(start)
        table.add_row(
            minute, str(candle["product_id"]), *(_number(candle[name]) for name in NUMBERS), str(candle["status"])
        )
    return table


def completeness(found: Completeness) -> Table:
    """Lay out how complete hours are."""
    table = Table(box=None, pad_edge=False, title="minutes of each hour by status", title_justify="left")
    for name in ("hour (UTC)", "product"):
        table.add_column(name, no_wrap=True)
    for status in CANDLE_STATUSES:
        table.add_column(status, justify="right", no_wrap=True)
    for (hour, product), statuses in found.items():
        table.add_row(f"{hour:%Y-%m-%d %H}", product, *(str(statuses[status] or "") for status in CANDLE_STATUSES))
    return table


def addresses(settings: Settings) -> Table:
    """Lay out what can be opened in a browser."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    passwords = settings.state_dir / "airflow" / "passwords.json"
    table.add_row("Airflow", f"{settings.airflow.url}  user {console.USER}, password in {passwords}")
    table.add_row("the hours", f"{settings.airflow.url}/plugin/hours")
    table.add_row("dbt docs", f"{settings.airflow.url}/cosmos/lake/dbt_docs_index.html")
    table.add_row("Spark", settings.spark_ui.url)
    if settings.exchange == "replica":
        table.add_row("the replica", f"{settings.replica.url}/coinbase/products")
    if settings.profile == "standard":
        table.add_row("Trino", settings.trino.url)
        table.add_row("Prometheus", settings.prometheus.url)
    return table


def _megabytes(count: int) -> str:
    return f"{count / 1024**2:,.0f} MB"


def _number(value: object) -> str:
    """Write a number without the zeros at its end."""
    if value is None:
        return ""
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
