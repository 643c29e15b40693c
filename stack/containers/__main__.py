"""What runs in the containers of our images: `python -m stack.containers`.

Each service is the one of `stack/services.py`, with the same command, environment and configuration as natively; only
who keeps it alive differs. `prepare` comes first and decides, as `make up` does, what holds for this lake.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Annotated, NoReturn

import typer

from include.settings import Settings
from stack import class_archive, console, jars, java, lifecycle, preflight, services, standard
from stack.containers import cluster
from stack.failures import StackError
from stack.layout import Layout, inherited, revealed
from stack.service import Service
from stack.start import is_due, run_step
from stack.supervisor import OwnContainer, configuration
from stack.templates import render, write_private

TEMPLATES = {
    "seaweedfs": ("s3.json",),
    "alertmanager": ("alertmanager.yml",),
    "grafana": ("datasources/lake.yml", "dashboards/lake.yml"),
}
"""Configuration of the services that only containers have; that of all others is the native one."""
IN_THE_IMAGE = ("spark-classes",)
"""Steps of the initialisation that the build has done."""
STREAMING = ("bronze-writer", "producer-")
"""Beginnings of the names of services that the streaming container keeps alive, and Airflow supervises."""
SPARK_JARS = (jars.SPARK, jars.CHECKPOINTS, standard.JMX)
SERVER_JARS = (jars.KAFKA, jars.NESSIE, jars.S3PROXY)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def tools(which: Annotated[str, typer.Argument(help="`spark` or `servers`.")]) -> None:
    """Bring the verified jars of an image, and Spark's Java; a build runs it."""
    settings = Settings()
    settings.tools_dir.mkdir(parents=True, exist_ok=True)
    with jars.download_progress() as progress:
        jars.fetch(SPARK_JARS if which == "spark" else SERVER_JARS, settings.tools_dir, progress)
    if which == "spark":
        java.bring(java.SPARK, settings.tools_dir, ())


@app.command()
def classes() -> None:
    """Archive Spark's classes; a build runs it where all jars are in their places.

    Raises:
        StackError: If Java cannot; an image without would only start slower, and nobody would know.
    """
    layout = lifecycle.layout_of(Settings())
    class_archive.bring(layout)
    refusal = class_archive.refusal(layout)
    if refusal.exists():
        raise StackError(f"Java made no archive of Spark's classes: {refusal.read_text()}")


@app.command()
def prepare() -> None:
    """Decide what holds for this lake, and write the configuration of all services into their volumes."""
    settings = lifecycle.decide(preflight.load_settings(), lasting=True)
    layout, _, _ = lifecycle.open_stack(settings)
    values = layout.template_values() | standard.template_values(settings) | container_values(settings)
    for folder, names in (services.TEMPLATES | standard.TEMPLATES | TEMPLATES).items():
        render(jars.STACK / folder, names, values, layout.conf(folder))
    (agent,) = standard.JMX.files(settings.tools_dir)
    layout.conf("jmx").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(agent, layout.conf("jmx") / "agent.jar")
    for place in (layout.temporary, layout.run, layout.logs):
        place.mkdir(parents=True, exist_ok=True)
    console.write_password(layout)


def container_values(settings: Settings) -> dict[str, str]:
    """Return what only the configuration of containers may name."""
    return {
        "METRICS_URL": settings.metrics.url,
        "PROMETHEUS_URL": settings.prometheus.url,
        "ALERTMANAGER_URL": settings.alertmanager.url if settings.alertmanager else "",
    }


@app.command()
def init() -> None:
    """Make bucket, topics, tables, Airflow's database and dbt's documents, as far as they are missing."""
    layout, _, steps = lifecycle.open_stack(preflight.load_settings())
    for step in (step for step in steps if step.name not in IN_THE_IMAGE and is_due(step, layout.run)):
        typer.echo(f"{step.name}: {step.purpose}")
        run_step(step, layout.run)


@app.command()
def serve(name: str) -> None:
    """Become one service of the stack."""
    layout, all_services, _ = lifecycle.open_stack(preflight.load_settings())
    by_name = {service.name: service for service in (*all_services, *cluster.services(layout))}
    if name not in by_name:
        raise StackError(f"There is no service {name}; there are {', '.join(sorted(by_name))}.")
    _become(layout, by_name[name])


def _become(layout: Layout, service: Service) -> NoReturn:
    if service.prepare:
        service.prepare()
    environment = inherited(os.environ) | layout.environment() | dict(service.environment)
    os.execvpe(service.command[0], list(service.command), environment)


@app.command()
def streaming() -> None:
    """Become the supervisord of the producers and the Bronze writer, which Airflow asks over the network."""
    settings = preflight.load_settings()
    if settings.supervisor is None:
        raise StackError("LAKE_SUPERVISOR__HOST and LAKE_SUPERVISOR__PORT do not say where supervisord is asked.")
    layout, all_services, _ = lifecycle.open_stack(settings)
    own = OwnContainer(settings.listening(settings.supervisor), revealed(settings, "supervisor_password"))
    followed = [service for service in all_services if service.name.startswith(STREAMING)]
    written = layout.conf("supervisord.conf")
    write_private(written, configuration(layout, followed, {}, own))
    supervisord = [sys.executable, "-m", "supervisor.supervisord", "-c", str(written)]
    os.execvpe(supervisord[0], supervisord, inherited(os.environ))


@app.command()
def watch() -> None:
    """Wait until the hours of the demo are published, then show what came out."""
    # Imported here: it needs all that Airflow's image has, and the others are smaller.
    from stack import cli

    cli.show_hours(preflight.load_settings())


def main() -> int:
    """Run a command; what a user can mend is told in one sentence."""
    try:
        app(standalone_mode=False)
    except StackError as error:
        sys.stderr.write(f"✗ {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
