"""What Airflow's processes are told, so that they report to the service `metrics`.

Apart from what reads the reports: an image without Airflow's libraries composes this, too.
"""

from __future__ import annotations

from include.settings import Settings

ALLOWED = ("ti.finish", "task.duration", "dagrun.duration", "scheduler_heartbeat")
"""Beginnings of the names of the metrics that Airflow is to tell; it has some hundred."""


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables by which Airflow's processes tell their metrics to this service."""
    return {
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",
        "AIRFLOW__METRICS__METRICS_ALLOW_LIST": ",".join(f"^{name}" for name in ALLOWED),
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{settings.metrics.url}/v1/metrics",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
        # A task waits so long at its end if this service does not answer.
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "2",
        "OTEL_METRIC_EXPORT_INTERVAL": "15000",
    }
