"""Questions whether a service does its work: each is quick, and False means "not yet"."""

from __future__ import annotations

import json
import logging
import socket
import urllib.error
import urllib.request
from collections.abc import Callable

import psycopg2
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families
from pyhive import hive
from thrift.transport.TTransport import TTransportException

from include.settings import Endpoint

# A refused connection is an answer here; Thrift would write each one to standard error.
logging.getLogger("thrift.transport.TSocket").setLevel(logging.CRITICAL)

SECONDS = 3.0
"""How long a question may take."""

here = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""Opens an address of this machine; a proxy that the user's shell names is for other machines."""


def listens(endpoint: Endpoint) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), SECONDS):
            return True
    except OSError:
        return False


def http(url: str, *, ok: Callable[[int], bool] = lambda status: status == 200) -> Callable[[], bool]:
    """Ask over HTTP; `ok` judges the status."""

    def ask() -> bool:
        try:
            with here(url, timeout=SECONDS) as response:
                return ok(response.status)
        except urllib.error.HTTPError as refused:
            return ok(refused.code)
        except (OSError, ValueError):
            return False

    return ask


def metric(endpoint: Endpoint, name: str, at_least: float) -> Callable[[], bool]:
    """Ask for a metric without labels, and whether it has come to a value."""

    def ask() -> bool:
        try:
            with here(f"{endpoint.url}/metrics", timeout=SECONDS) as response:
                told = response.read().decode()
        except (OSError, ValueError):
            return False
        families = text_string_to_metric_families(told)
        return any(sample.name == name and sample.value >= at_least for each in families for sample in each.samples)

    return ask


def kafka(endpoint: Endpoint) -> Callable[[], bool]:
    """Ask the broker for its topics."""

    def ask() -> bool:
        if not listens(endpoint):
            return False
        try:
            AdminClient({"bootstrap.servers": endpoint.address, "log_level": 0}).list_topics(timeout=SECONDS)
        except KafkaException:
            return False
        return True

    return ask


def postgres(endpoint: Endpoint, user: str, password: str) -> Callable[[], bool]:
    """Log in to the database server."""

    def ask() -> bool:
        try:
            psycopg2.connect(
                host=endpoint.host, port=endpoint.port, user=user, password=password, dbname="postgres",
                connect_timeout=int(SECONDS),
            ).close()  # fmt: skip
        except psycopg2.OperationalError:
            return False
        return True

    return ask


def thrift(endpoint: Endpoint) -> Callable[[], bool]:
    """Run a query over the Thrift server."""

    def ask() -> bool:
        try:
            with hive.connect(host=endpoint.host, port=endpoint.port) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                return bool(cursor.fetchall() == [(1,)])
        except (OSError, TTransportException, hive.OperationalError):
            return False

    return ask


def airflow_api(endpoint: Endpoint) -> Callable[[], bool]:
    """Ask Airflow's API for its pages' sign of life and for its tasks': the first task would wait for that for seconds.

    It builds what it answers tasks with when it is first asked.
    """
    of_pages, of_tasks = airflow_component(endpoint, "metadatabase"), http(f"{endpoint.url}/execution/health")
    return lambda: of_pages() and of_tasks()


def airflow_component(endpoint: Endpoint, component: str) -> Callable[[], bool]:
    """Ask Airflow's API whether one of its processes gave a sign of life lately."""

    def ask() -> bool:
        try:
            with here(f"{endpoint.url}/api/v2/monitor/health", timeout=SECONDS) as response:
                health = json.load(response)
        except (OSError, ValueError):
            return False
        return bool(health.get(component, {}).get("status") == "healthy")

    return ask
