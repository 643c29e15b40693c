"""What is wrong, and what to do about it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psutil
from confluent_kafka import KafkaException

from include.settings import Settings
from stack import class_archive, first_start, jars, java, kafka_view, lifecycle, preflight, standard, status
from stack.failures import StackError
from stack.service import Service
from stack.supervisor import Supervisor
from streaming.coingecko import kept
from streaming.failures import RefusalError

FREE_MEMORY = 1024**3
"""Bytes below which the hour's job may be killed for want of memory."""
NEEDED_MEMORY = 6 * 1024**3
"""Bytes that the smallest stack may use, all in all."""
TOLERATED_LAG = 20_000
"""Records; a full hour of the default products."""
ALERTS_SINCE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: What was looked at, in a word or two.
        found: What was found.
        advice: What to do; empty when all is well.
        is_fault: Whether something is wrong; advice without a fault is worth a look.
    """

    what: str
    found: str
    advice: str = ""
    is_fault: bool = False


def examine(settings: Settings, now: datetime) -> list[Finding]:
    """Look at the machine, the tools and the stack; each part is looked at even if another cannot be."""
    findings = [disk(settings), *tools(settings)]
    if settings.s3_access_key is None:
        return [
            *findings,
            memory(NEEDED_MEMORY),
            Finding("stack", "was never started", "Run `make demo` or `make up`."),
        ]
    findings.append(secrets(settings.state_dir))
    layout, all_services, _ = lifecycle.open_stack(settings)
    if not Supervisor(layout).is_running:
        return [*findings, memory(NEEDED_MEMORY), *(left_behind(settings) or ports(all_services))]
    findings.append(memory(FREE_MEMORY))
    found = status.look(settings)
    findings += [health(one, layout.logs) for one in found]
    if all(one.is_well for one in found if one.service.name == "kafka"):
        findings += flow(settings, now)
    if settings.follow_coingecko:
        findings.append(requests(settings, now))
    return [*findings, alerts(settings.alerts_file, now)]


def disk(settings: Settings) -> Finding:
    """Look at the disk of the state folder."""
    try:
        preflight.check_folder(settings.state_dir)
    except StackError as fault:
        return Finding("disk", str(fault), "Free some space, or name another folder in LAKE_STATE_DIR.", is_fault=True)
    return Finding("disk", f"{shutil.disk_usage(settings.state_dir).free / 1024**3:.0f} GB free")


def memory(needed: int) -> Finding:
    """Look at the memory that is left."""
    left = psutil.virtual_memory().available
    found = f"{left / 1024**3:.1f} GB available"
    if left < needed:
        return Finding("memory", found, f"{needed / 1024**3:.0f} GB should be: end other programs.", is_fault=True)
    return Finding("memory", found)


def tools(settings: Settings) -> list[Finding]:
    """Look at the Java runtimes and read every byte of the jars."""
    findings = []
    on_machine = java.installed(java.candidates(os.environ))
    for version, user in ((java.SPARK, "Spark"), (java.SERVERS, "Kafka, Nessie and the S3 store")):
        found = java.locate(version, settings.tools_dir, on_machine)
        what = f"Java {version}"
        if found is None:
            findings.append(Finding(what, f"missing, for {user}", "Run `python -m stack tools`.", is_fault=True))
        else:
            findings.append(Finding(what, str(found.home)))
    for jar_set in (*jars.needed(settings), *((standard.JMX,) if settings.profile == "standard" else ())):
        try:
            wrong = jars.faults(jar_set, settings.tools_dir, thorough=True)
        except StackError as fault:
            findings.append(
                Finding(f"jars of {jar_set.name}", str(fault), "Run `python -m stack lock`.", is_fault=True)
            )
            continue
        if wrong:
            named = ", ".join(f"{name} is {fault}" for name, fault in wrong.items())
            findings.append(
                Finding(f"jars of {jar_set.name}", named, "Run `python -m stack tools`.", is_fault=True)
            )  # fmt: skip
        else:
            findings.append(Finding(f"jars of {jar_set.name}", "as in the lock"))
    refusal = class_archive.refusal(lifecycle.layout_of(settings))
    if refusal.exists():
        advice = f"{refusal} says why; Java is asked again in an hour, or once that file is gone."
        findings.append(Finding("Spark's classes", "have no archive, so that each Spark process starts slower", advice))
    return findings


def secrets(state_dir: Path) -> Finding:
    """Look at who may read the secrets."""
    path = state_dir / first_start.SECRETS
    if not first_start.is_private(path):
        return Finding("secrets", f"{path} can be read by others", f"Run `chmod 600 {path}`.", is_fault=True)
    return Finding("secrets", "readable by their owner only")


def ports(all_services: Iterable[Service]) -> list[Finding]:
    """Look whether the ports of a stack that is down are free."""
    try:
        preflight.check_ports(all_services)
    except StackError as fault:
        return [Finding("ports", str(fault), is_fault=True)]
    return [Finding("ports", "free"), Finding("stack", "is down", "Run `make demo` or `make up`.")]


def left_behind(settings: Settings) -> list[Finding]:
    """Look for services that lost their supervisor: as long as they run, they have their ports."""
    left = status.unsupervised(settings)
    if not left:
        return []
    named = ", ".join(f"{process.pid} ({process.name()})" for process in left)
    advice = "Run `make up` to begin anew where they are, or `make down` to end them."
    return [Finding("supervisor", f"is gone; without it run {named}", advice, is_fault=True)]


def health(one: status.ServiceStatus, logs: Path) -> Finding:
    """Look at one service."""
    name = one.service.name
    if one.is_well:
        return Finding(name, "ready")
    log = logs / f"{name}.log"
    advice = "Run `make up`." if one.state == "stopped" else f"See {log}; `make up` starts it again."
    return Finding(name, one.state, advice, is_fault=True)


def flow(settings: Settings, now: datetime) -> list[Finding]:
    """Look how far readers are behind and how far the products are closed."""
    try:
        lags, progress = kafka_view.lags(settings.kafka), kafka_view.progress(settings.kafka)
    except KafkaException as error:
        return [Finding("kafka", str(error), "See its log.", is_fault=True)]
    findings = []
    for lag in lags:
        if lag.behind is not None and lag.behind > TOLERATED_LAG:
            advice = "Wait a minute and look again; if it grows, see the log of bronze-writer."
            findings.append(Finding(lag.group, f"{lag.behind:,} records behind", advice, is_fault=True))
    if not findings:
        findings.append(Finding("lag", "all readers are near the end"))
    behind = [one for one in progress if now - one.closed_through > settings.silence_limit]
    missing = sorted(set(settings.followed) - {one.product for one in progress})
    for one in behind:
        found = f"closed through {one.closed_through:%Y-%m-%d %H:%M:%S} UTC only"
        findings.append(_unclosed(one.product, found))
    findings += [_unclosed(product, "no progress yet") for product in missing]
    if not behind and not missing:
        oldest = min(one.closed_through for one in progress)
        findings.append(Finding("progress", f"every product is closed through {oldest:%H:%M:%S} UTC"))
    return findings


def _unclosed(product: tuple[str, str, str], found: str) -> Finding:
    return Finding("/".join(product), found, f"See the log of producer-{product[0]}.", is_fault=True)


def requests(settings: Settings, now: datetime) -> Finding:
    """Look at the requests that CoinGecko still allows this month."""
    try:
        spent = kept.load(kept.file_of(settings)).spent.of_month(now)
    except RefusalError as fault:
        return Finding("coingecko", str(fault), "See the log of producer-coingecko.", is_fault=True)
    allowed = settings.coingecko_requests_per_month
    found = f"{max(allowed - spent, 0):,} of {allowed:,} requests left this month"
    if spent >= allowed:
        advice = "No prices come before the next; if your plan allows more, raise LAKE_COINGECKO_REQUESTS_PER_MONTH."
        return Finding("coingecko", found, advice, is_fault=True)
    return Finding("coingecko", found)


def alerts(path: Path, now: datetime) -> Finding:
    """Look at the alerts of the last day."""
    if not path.exists():
        return Finding("alerts", "none")
    recent = [
        line for line in map(_alert, path.read_text().splitlines()) if line[0] is None or now - line[0] < ALERTS_SINCE
    ]
    if not recent:
        return Finding("alerts", "none since yesterday")
    return Finding(
        "alerts", f"{len(recent)} since yesterday, the last: {recent[-1][1]}", f"See {path} and docs/runbook.md."
    )


def _alert(line: str) -> tuple[datetime | None, str]:
    """Read when an alert was and what it says."""
    try:
        alert = json.loads(line)
    except ValueError:
        return None, line
    at = alert.get("at")
    return (datetime.fromisoformat(at) if at else None), str(alert.get("summary", line)).splitlines()[0]
