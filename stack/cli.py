"""The commands: up, down, status, doctor, init, demo and what helps with them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live

from include.contracts.table import Layer
from include.quality.judgement import Outcome
from include.settings import CHECKOUT, Settings
from stack import branch as branch_of
from stack import class_archive, jars, kafka_view, lifecycle, preflight, standard, summary, views
from stack import console as airflow_console
from stack import demo as demonstration
from stack import doctor as doctor_of
from stack import status as status_of
from stack.demo import Moment
from stack.failures import StackError
from stack.layout import inherited
from stack.service import Part

WIDTH_OF_FILES = 160
"""Columns of output that no terminal shows."""

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
branch_app = typer.Typer(no_args_is_help=True, help="Branches of the lake, to try something on.")
app.add_typer(branch_app, name="branch")
out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
err = Console(stderr=True, highlight=False)


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    """Turn what a user can mend into its sentence and exit code 1."""
    try:
        yield
    except StackError as error:
        err.print(f"[red]✗[/] {error}", soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as interrupted:
        err.print("Interrupted. `make status` says what runs.")
        raise typer.Exit(130) from interrupted


class Ticker:
    """Prints what starts and what is ready; parts that are ready at once are passed over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status = out.status("")
        self._open: list[str] = []

    def __enter__(self) -> Ticker:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def begun(self, part: Part) -> None:
        """Show that a part is on its way."""
        with self._lock:
            self._open.append(part.name)
            self._status.update(f"starting {', '.join(self._open)}")

    def done(self, part: Part, seconds: float, *, is_new: bool) -> None:
        """Show that a part does its work, unless it did before."""
        with self._lock:
            self._open.remove(part.name)
            self._status.update(f"starting {', '.join(self._open)}" if self._open else "")
            if is_new:
                out.print(f"[green]✓[/] {part.name:22} {part.purpose} [dim]{seconds:.1f} s[/]")


class Hours:
    """Shows how far the demo is: in place on a terminal, elsewhere a line for each change."""

    def __init__(self) -> None:
        self._live = Live(console=out, refresh_per_second=4, transient=True)
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Hours:
        if out.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, moment: Moment) -> None:
        """Show a moment of the demo."""
        if out.is_terminal:
            self._live.update(views.moment(moment))
            return
        for hour, state in moment.hours.items():
            if self._shown.get(hour) != state:
                out.print(f"[dim]·[/] {hour} {state}")
        self._shown = dict(moment.hours)


def tell(text: str) -> None:
    """Say something in passing."""
    out.print(f"[dim]·[/] {text}")


Only = Annotated[str, typer.Option(help="Services that are wanted, separated by commas, with all that they need.")]
Profile = Annotated[
    Literal["minimal", "standard"] | None, typer.Option(help="What runs; `standard` adds Trino and Prometheus.")
]
Exchange = Annotated[
    Literal["replica", "live"] | None, typer.Option(help="The exchange itself, or the stand-in on this machine.")
]
Recording = Annotated[Path | None, typer.Option(help="What the stand-in plays: a file or folder of frames.")]


@app.command()
def up(
    only: Only = "", profile: Profile = None, exchange: Exchange = None, recording: Recording = None
) -> None:  # fmt: skip
    """Start the stack, or what of it is not running; changes nothing when all runs."""
    with _in_one_sentence():
        choose(profile=profile, exchange=exchange, recording=recording)
        names = [name.strip() for name in only.split(",") if name.strip()]
        with Ticker() as ticker:
            changed = lifecycle.up(preflight.load_settings(), names, ticker, tell)
        out.print("The stack is up." if changed else "The stack was up already; nothing was changed.")


@app.command()
def demo(profile: Profile = None, recording: Recording = None) -> None:
    """Play recorded trades through the whole lake and show what comes out; the stack stays up."""
    with _in_one_sentence():
        choose(profile=profile, exchange="replica", recording=recording)
        with Ticker() as ticker:
            changed = lifecycle.up(preflight.load_settings(), [], ticker, tell)
        settings = preflight.load_settings()
        show_hours(settings)
        out.print("", views.addresses(settings), "")
        if changed:
            out.print("The demo is up and follows the live feed. `make status` shows it, `make down` stops it.")
        else:
            out.print("The demo was up already; nothing was changed.")


def show_hours(settings: Settings) -> None:
    """Wait until every hour of the demo is published, then show what came out."""
    with Hours() as hours_of_demo:
        demonstration.watch(settings, hours_of_demo.show)
    hours = demonstration.demo_hours(settings)
    if hours:
        end = hours[-1] + timedelta(hours=1)
        out.print("", views.candles(summary.newest_candles(settings)))
        out.print("", views.completeness(summary.completeness(settings, hours[0], end)))


@app.command()
def status() -> None:
    """Show what runs: state, process, ports, memory, and how far readers are behind."""
    with _in_one_sentence():
        settings = preflight.load_settings()
        found = status_of.look(settings)
        out.print(views.services(found))
        if left := status_of.unsupervised(settings):
            out.print(f"{len(left)} processes run without their supervisor, which is gone: see `make doctor`.")
        if any(one.is_well for one in found if one.service.name == "kafka"):
            out.print("", views.lags(kafka_view.lags(settings.kafka)))


@app.command()
def doctor() -> None:
    """Find what is wrong and say what to do; exit code 1 if something is."""
    with _in_one_sentence():
        findings = doctor_of.examine(preflight.load_settings(), datetime.now(UTC))
        out.print(views.findings(findings))
        faults = [finding for finding in findings if finding.is_fault]
        if faults:
            raise StackError(f"{len(faults)} of {len(findings)} things are not as they should be.")
        out.print("All is well.")


@app.command()
def clean() -> None:
    """Stop the stack and give up its data, logs and secrets; what was downloaded stays."""
    with _in_one_sentence():
        settings = preflight.load_settings()
        there = lifecycle.clean(settings, tell)
        out.print(f"Removed {settings.state_dir}." if there else "There was nothing to remove.")


@app.command()
def down() -> None:
    """Stop the stack; no process of it is left."""
    with _in_one_sentence():
        stopped = lifecycle.down(preflight.load_settings(), tell)
        out.print("The stack is down." if stopped else "No stack was running.")


@app.command()
def init(steps: Annotated[list[str] | None, typer.Argument(help="Steps to run; all if none is named.")] = None) -> None:
    """Make bucket, topics, tables, Airflow's database and dbt's documents anew where something is missing."""
    with _in_one_sentence():
        lifecycle.initialise_anew(preflight.load_settings(), steps or [], tell)


@app.command()
def tools() -> None:
    """Bring the jars and Java runtimes, each verified against its lock, and archive Spark's classes."""
    with _in_one_sentence():
        settings = preflight.load_settings()
        lifecycle.bring_tools(settings, tell)
        class_archive.bring(lifecycle.layout_of(settings))
        out.print("All tools are there.")


@app.command()
def lock() -> None:
    """Resolve the coordinates of all `jgo.toml` anew and write their locks."""
    with _in_one_sentence(), jars.download_progress() as progress, TemporaryDirectory() as scratch:
        for jar_set in (*jars.MINIMAL, jars.CHECKPOINTS, standard.TRINO, standard.JMX):
            out.print(f"wrote {jars.write_lock(jar_set, Path(scratch), progress).relative_to(CHECKOUT)}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context) -> None:
    """Run a command in the environment of the stack, as in `run airflow dags list` or `run dbt build`."""
    with _in_one_sentence():
        if not context.args:
            raise StackError("Say which command to run, as in `python -m stack run airflow dags list`.")
        layout, _, _ = lifecycle.open_stack(preflight.load_settings())
        environment = inherited(os.environ) | airflow_console.environment(layout)
        try:
            os.execvpe(context.args[0], context.args, environment)
        except FileNotFoundError as missing:
            raise StackError(f"There is no command {context.args[0]}.") from missing


@branch_app.command("create")
def create_branch(name: str) -> None:
    """Make a branch of the whole lake, in a second, and say how to work on it."""
    with _in_one_sentence():
        settings = preflight.load_settings()
        made = branch_of.create(settings, name)
        out.print(f"{made} is the whole lake as readers see it now; what you write there they do not see. On it:")
        show_usage(settings, made)


@branch_app.command("use")
def use_branch(name: str) -> None:
    """Say how each tool is made to work on a branch."""
    with _in_one_sentence():
        settings = preflight.load_settings()
        show_usage(settings, branch_of.name_of(settings, name))


def show_usage(settings: Settings, branch: str) -> None:
    """Print how each tool is made to work on a branch; nothing is wrapped, so that it can be copied."""
    for tool, command in branch_of.usage(settings, branch):
        out.print(f"  {tool:14} {command}", soft_wrap=True, markup=False)


@branch_app.command("list")
def list_branches() -> None:
    """Show all branches of people."""
    with _in_one_sentence():
        for line in branch_of.listing(preflight.load_settings()) or ["There is none."]:
            out.print(line, soft_wrap=True)


@branch_app.command("diff")
def diff_branch(name: str) -> None:
    """Show what a branch made of the lake: tables, snapshots, rows added, removed and changed."""
    with _in_one_sentence():
        for line in branch_of.differences(preflight.load_settings(), name):
            out.print(line, soft_wrap=True)


@branch_app.command("merge")
def merge_branch(name: str) -> None:
    """Bring a branch into what readers see: Airflow takes the turn, judges what changed, and merges."""
    with _in_one_sentence():
        tell("Airflow merges it; the gates take some seconds an hour that changed")
        out.print(branch_of.merge(preflight.load_settings(), name), soft_wrap=True)


@branch_app.command("drop")
def drop_branch(name: str) -> None:
    """Delete a branch, with what was not merged."""
    with _in_one_sentence():
        out.print(f"It is dropped; it stood at {branch_of.drop(preflight.load_settings(), name)}.")


OnBranch = Annotated[str, typer.Option("--branch", help="A branch that `branch create` made.")]
OfHour = Annotated[str, typer.Option("--hour", help="The hour to work on, such as 2026-11-20T09.")]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def dbt(context: typer.Context, branch: OnBranch, hour: OfHour = "") -> None:
    """Run dbt on a branch, as in `dbt --branch x --hour 2026-11-20T09 run --select ohlcv_1h`."""
    with _in_one_sentence():
        settings = preflight.load_settings()
        name = branch_of.name_of(settings, branch)
        layout, _, _ = lifecycle.open_stack(settings)
        # The manifest that Airflow draws its tasks from is that of the checkout when the stack came up.
        target = layout.temporary / f"dbt-{name}"
        on_branch = {"LAKE_REF": name, "DBT_TARGET_PATH": str(target)} | ({"LAKE_HOUR": hour} if hour else {})
        environment = inherited(os.environ) | layout.environment() | airflow_console.dbt_environment(layout) | on_branch
        os.execve(layout.bin / "dbt", ["dbt", *context.args], environment)


@app.command()
def gate(branch: OnBranch, hour: OfHour, layer: Layer = Layer.GOLD) -> None:
    """Hold an hour on a branch against the gates; exit code 1 if it would not be published."""
    with _in_one_sentence():
        verdicts = branch_of.judge(preflight.load_settings(), branch, layer, hour)
        for verdict in verdicts:
            out.print(f"{verdict.outcome:5} {verdict}", soft_wrap=True, markup=False)
        if any(verdict.outcome is Outcome.BLOCK for verdict in verdicts):
            raise StackError(f"{hour} would not be published.")


def choose(*, profile: str | None, exchange: str | None, recording: Path | None) -> None:
    """Put choices of the command line where settings are read from, and where child processes find them."""
    choices = {"LAKE_PROFILE": profile, "LAKE_EXCHANGE": exchange, "LAKE_RECORDING": recording and recording.absolute()}
    os.environ.update({name: str(value) for name, value in choices.items() if value is not None})
