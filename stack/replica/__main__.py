"""Run the replica: `python -m stack.replica`."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from aiohttp import web

from include.logs import log_as_json
from include.settings import Settings
from stack.failures import StackError
from stack.preflight import load_settings
from stack.replica.clock import Clock, keep_clock, keep_shift
from stack.replica.faults import Faults
from stack.replica.plan import Plan
from stack.replica.recordings import DEFAULT_RECORDING, read_recording
from stack.replica.server import Exchange, make_app
from stack.replica.tape import Tape

log = logging.getLogger("stack.replica")


def serve(settings: Settings, *, recording: Path, speed: float, plan: Plan, report: Path) -> None:
    """Serve until a signal comes; then write the report of the faults.

    Raises:
        StackError: If the recording, the state folder or the port is not as it should be.
    """
    clock = keep_clock(settings.state_dir / "replica-clock.json", speed)
    tape = _load_tape(settings, recording, clock)
    faults = Faults()
    faults.arm(plan, clock.now())
    at = settings.listening(settings.replica)
    try:
        web.run_app(make_app(Exchange(tape, clock, faults)), host=at.host, port=at.port, print=None, access_log=None)
    except OSError as error:
        raise StackError(
            f"The replica cannot listen on {at.address} ({os.strerror(error.errno or 0)}): stop what holds the port, "
            f"or choose another with LAKE_REPLICA__PORT."
        ) from error
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_bytes(msgspec.json.encode(faults.report()))


def _load_tape(settings: Settings, path: Path, clock: Clock) -> Tape:
    recording = read_recording(path)
    shift_hours = keep_shift(settings, recording.span, clock.now())
    if recording.ignored:
        log.info("frames of the recording that are not played: %s", dict(recording.ignored))
    first, end = recording.span.first_hour, recording.span.end
    log.info("%d trades from %s to %s, moved by %d h", len(recording.plays), first, end, shift_hours)
    return Tape(recording, shift_hours=shift_hours)


def _read_plan(path: Path) -> Plan:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(f"The plan of faults {path} cannot be read: {error}.") from error


def main(
    recording: Annotated[
        Path | None,
        typer.Option(help="File or folder of recorded frames. Default: LAKE_RECORDING, or the one that comes along."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.01, max=10_000, help="Seconds on the exchange in a real one. Default: LAKE_REPLICA_SPEED."),
    ] = None,
    faults: Annotated[Path | None, typer.Option(help='Plan of faults, JSON: {"faults": [{"kind": "skip"}]}.')] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the faults' chances, in place of the plan's.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Where the injected faults are written at the end. Default: logs/replica-faults.json."),
    ] = None,
) -> None:
    """Play recorded trades as Coinbase Exchange would: its WebSocket feed and its REST API; and as Bybit and CoinGecko.

    Listens on LAKE_REPLICA__HOST and LAKE_REPLICA__PORT (127.0.0.1:8765): the feed at /coinbase/ws, the REST API below
    /coinbase, Bybit's feeds at /bybit/v5/public/linear and /spot, its REST API below /bybit/v5/market, CoinGecko's
    below /coingecko/api/v3, and /health. Faults of Coinbase's and Bybit's feeds and of all REST APIs are armed, listed
    and cleared with POST, GET and DELETE at /control/faults; their kinds are drop, skip, repeat, reorder, late, stale,
    broken, new_field, changed_type, unknown, stall, and of requests too_many_requests, failure and delay.
    """
    log_as_json()
    try:
        settings = load_settings()
        plan = _read_plan(faults) if faults else Plan()
        serve(
            settings,
            recording=recording or settings.recording or DEFAULT_RECORDING,
            speed=settings.replica_speed if speed is None else speed,
            plan=plan if seed is None else msgspec.structs.replace(plan, seed=seed),
            report=report or settings.state_dir / "logs" / "replica-faults.json",
        )
    except StackError as error:
        typer.echo(f"replica: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
