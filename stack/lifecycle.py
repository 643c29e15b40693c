"""Up and down: from settings to a running stack, and back without a trace in the process table."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from include.settings import CHECKOUT, Settings
from stack import first_start, initialise, jars, java, preflight, services, standard
from stack.failures import StackError
from stack.layout import Layout
from stack.replica.clock import choose_shift
from stack.replica.recordings import DEFAULT_RECORDING, Span, read_recording
from stack.service import Part, Service, Step, needed_for, stop_order
from stack.start import Watcher, bring_up, run_step
from stack.supervisor import Supervisor, end, processes_of
from stack.templates import render

ORPHAN_SECONDS = 20.0
"""How long a process that lost its supervisor may take to end when asked."""

FLOWING = ("bronze-", "producer-", "airflow-")
"""Beginnings of the names of services that put data into the lake."""

OURS = {
    "airflow", "alerts.ndjson", "checkpoints", "conf", "data", "data_docs", "dbt", "leases", "logs",
    "replica-clock.json", "run", "scale.json", "secrets.env", "settings.env", "spool", "tmp", "up.lock",
}  # fmt: skip
"""What lies in a state folder; a folder with anything else is not removed."""

Tell = Callable[[str], None]


def layout_of(settings: Settings) -> Layout:
    """Return the layout of a stack, with the Java runtimes that it uses or would use."""
    on_machine = java.installed(java.candidates(os.environ))
    return Layout(
        settings,
        spark_java=java.expected(java.SPARK, settings.tools_dir, on_machine),
        server_java=java.expected(java.SERVERS, settings.tools_dir, on_machine),
    )


def bring_tools(settings: Settings, tell: Tell) -> None:
    """Bring jars and Java runtimes; costs nothing when they are there."""
    settings.tools_dir.mkdir(parents=True, exist_ok=True)
    with _in_turn(settings.tools_dir / "tools.lock", lambda: tell("waiting for another command that brings tools")):
        with jars.download_progress() as progress:
            count = jars.fetch(jars.needed(settings), settings.tools_dir, progress)
            if settings.profile == "standard":
                standard.bring(settings, progress)
        if count:
            tell(f"{count} Java archives downloaded and verified")
        on_machine = java.installed(java.candidates(os.environ))
        for version in (java.SPARK, java.SERVERS):
            java.bring(version, settings.tools_dir, on_machine)


def open_stack(settings: Settings) -> tuple[Layout, list[Service], list[Step]]:
    """Return a stack that was started before: its layout, services and steps.

    Raises:
        StackError: If it never was.
    """
    if settings.s3_access_key is None:
        raise StackError(f"There is no stack in {settings.state_dir} yet: run `make demo` or `make up`.")
    layout = layout_of(settings)
    return layout, services.of_profile(layout), initialise.steps(layout)


def up(settings: Settings, only: Iterable[str], watcher: Watcher, tell: Tell) -> bool:
    """Bring a stack up and return whether there was anything to do.

    Args:
        only: Names of the services that are wanted, with all that they need; none means all of the profile.

    Raises:
        StackError: If something is wrong; nothing that this call started runs then.
    """
    preflight.check_path(settings.tools_dir)
    preflight.check_folder(settings.state_dir)
    with _alone(settings.state_dir / "up.lock", "Another command is starting or stopping this stack"):
        settings = decide(settings, lasting=_begins_a_lake(only))
        layout, all_services, steps = open_stack(settings)
        wanted = _wanted(only, [*all_services, *steps])
        supervisor = Supervisor(layout)
        was_up = supervisor.names_up()
        if not supervisor.is_running:
            end(processes_of(layout.state), ORPHAN_SECONDS, tell=tell)
        preflight.check_ports(part for part in wanted if isinstance(part, Service) and part.name not in was_up)
        bring_tools(settings, tell)
        supervisor.configure(all_services, render_all(layout, all_services))
        if supervisor.is_running:
            for name in supervisor.adopt():
                tell(f"{name} starts anew: its configuration changed")
        else:
            _empty(layout.temporary)
            supervisor.start()
        was_up = supervisor.names_up()
        try:
            bring_up(wanted, layout, supervisor, watcher)
        except BaseException:
            if not supervisor.names_up():
                supervisor.shut_down()
            raise
        return any(isinstance(part, Service) and part.name not in was_up for part in wanted)


def _wanted(only: Iterable[str], parts: list[Part]) -> list[Part]:
    try:
        return needed_for(only, parts) if only else parts
    except KeyError as unknown:
        raise StackError(f"{unknown.args[0]}.") from unknown


def _begins_a_lake(only: Iterable[str]) -> bool:
    """Whether data may flow, so that the choices of this start bind all later ones."""
    names = list(only)
    return not names or any(name == "replica" or name.startswith(FLOWING) for name in names)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def decide(settings: Settings, *, lasting: bool) -> Settings:
    """Take the choices of a first start, hold later ones against them, and return the settings with them.

    Args:
        lasting: Whether the lake begins with this start, so that what makes its data what they are is chosen for good.

    Raises:
        StackError: If the lake was begun with other choices, or the recording or a product is not to be had.
    """
    state = settings.state_dir
    kept = first_start.read(state / first_start.CHOICES)
    wanted = first_start.choices_in(os.environ)
    if "LAKE_FIRST_HOUR" in wanted and settings.first_hour is not None:
        wanted["LAKE_FIRST_HOUR"] = settings.first_hour.isoformat()
    if lasting:
        wanted |= _lasting_choices(settings, kept, wanted)
    else:
        wanted = {name: value for name, value in wanted.items() if name not in preflight.FIXED}
    first_start.ensure_secrets(state, os.environ)
    first_start.keep_choices(state, wanted)
    return preflight.load_settings()


def _lasting_choices(settings: Settings, kept: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return what a lake keeps from its first start on."""
    chosen: dict[str, str] = {"LAKE_EXCHANGE": settings.exchange}
    if settings.exchange == "replica":
        chosen["LAKE_RECORDING"] = str((settings.recording or DEFAULT_RECORDING).absolute())
    preflight.check_kept(kept, {**wanted, **chosen}, settings.state_dir)
    begins = "LAKE_EXCHANGE" not in kept
    history = settings.history_hours
    now = datetime.now(UTC)
    if settings.exchange == "replica":
        path = Path(chosen["LAKE_RECORDING"])
        if begins or not path.exists() or wanted.get("LAKE_PRODUCTS", "") != kept.get("LAKE_PRODUCTS", ""):
            recording = read_recording(path)
            played = {play.trade.product_id for play in recording.plays}
            preflight.check_played(settings.products, played)
            history = min(history, recording.span.hours)
            chosen["LAKE_REPLICA_SHIFT_HOURS"] = str(_shift(settings, recording.span, now))
    elif begins or wanted.get("LAKE_PRODUCTS", "") != kept.get("LAKE_PRODUCTS", ""):
        preflight.check_listed(settings.products, settings.coinbase_rest)
    if begins:
        first = settings.first_hour or first_start.chosen_hour(now, history)
        chosen["LAKE_FIRST_HOUR"] = first.isoformat()
        chosen["LAKE_HISTORY_HOURS"] = str(first_start.full_hours(first, now))
    return chosen


def _shift(settings: Settings, span: Span, now: datetime) -> int:
    return choose_shift(span, now) if settings.replica_shift_hours is None else settings.replica_shift_hours


def render_all(layout: Layout, all_services: Iterable[Service]) -> dict[str, str]:
    """Write the configuration of all services and return, for each, a hash of all that it reads."""
    values = layout.template_values() | standard.template_values(layout.settings)
    hashes = {"settings": first_start.digest(layout.state)}
    for folder, names in services.templates(layout.settings).items():
        hashes[folder] = render(CHECKOUT / "stack" / folder, names, values, layout.conf(folder))
    return {service.name: "-".join(hashes[what] for what in service.reads) for service in all_services}


def initialise_anew(settings: Settings, names: Iterable[str], tell: Tell) -> None:
    """Run steps of the initialisation again, all of them or those that are named.

    Raises:
        StackError: If a step does not exist, or the service that it needs is not up.
    """
    layout, all_services, steps = open_stack(settings)
    wanted = list(names) or [step.name for step in steps]
    parts: list[Part] = [*all_services, *steps]
    by_name = {part.name: part for part in parts}
    for name in wanted:
        if not isinstance(by_name.get(name), Step):
            raise StackError(f"There is no step {name}; there are {', '.join(step.name for step in steps)}.")
    for step in (step for step in needed_for(wanted, parts) if isinstance(step, Step)):
        if step.name not in wanted:
            continue
        for before in (by_name[name] for name in step.after):
            if isinstance(before, Service) and not before.ready():
                raise StackError(f"{step.name} needs {before.name}, which is not up: run `make up` first.")
        tell(f"{step.name}: {step.purpose}")
        run_step(step, layout.run)


def down(settings: Settings, tell: Tell) -> bool:
    """Stop a stack, last started first, and return whether there was anything to stop."""
    if not settings.state_dir.exists():
        return False
    with _alone(settings.state_dir / "up.lock", "Another command is starting or stopping this stack"):
        layout = layout_of(settings)
        supervisor = Supervisor(layout)
        any_stopped = supervisor.is_running
        if any_stopped:
            _, all_services, steps = open_stack(settings)
            for level in stop_order([*all_services, *steps]):
                names = [name for name in level if name in supervisor.names_up()]
                if names:
                    tell(f"stopping {', '.join(names)}")
                    supervisor.stop_all(names)
            # What an earlier version of the checkout started, and this one does not know.
            supervisor.stop_all(supervisor.names_up())
            supervisor.shut_down()
        left = processes_of(settings.state_dir)
        end(left, ORPHAN_SECONDS, tell=tell)
        return any_stopped or bool(left)


def clean(settings: Settings, tell: Tell) -> bool:
    """Stop a stack and remove its state folder; whether there was one.

    Raises:
        StackError: If the folder does not look like one of ours: nothing is removed then.
    """
    state = settings.state_dir
    if not state.exists():
        return False
    strangers = {path.name for path in state.iterdir()} - OURS
    if strangers:
        raise StackError(f"{state} holds {', '.join(sorted(strangers)[:3])}, which is not ours: remove it by hand.")
    down(settings, tell)
    shutil.rmtree(state)
    return True


@contextmanager
def _alone(path: Path, otherwise: str) -> Iterator[None]:
    """Hold a lock file while at work; it is given back even by a process that is killed.

    Raises:
        StackError: If another process holds it.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise StackError(f"{otherwise}: wait until it has ended.") from held
        yield


@contextmanager
def _in_turn(path: Path, meanwhile: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file while at work; wait for whoever holds it now, after saying so."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            meanwhile()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
