"""The exchange's stand-in, made to misbehave or to hurry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from include.settings import CHECKOUT
from tests.drivers.running_stack import RunningStack
from tests.drivers.waiting import eventually


@dataclass(frozen=True)
class Exchange:
    """The stand-in of one stack."""

    stack: RunningStack

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.stack.settings.replica.url

    def now(self) -> datetime:
        """Return the time on the exchange."""
        return datetime.fromisoformat(self.health()["exchange_time"])

    def health(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return httpx.get(f"{self.url}/health", timeout=10).json()

    def misbehave(self, *faults: dict[str, Any], seed: int) -> None:
        """Arm faults beside those that are armed."""
        answer = httpx.post(f"{self.url}/control/faults", json={"faults": faults, "seed": seed}, timeout=10)
        assert answer.is_success, answer.text

    def behave(self) -> None:
        """Clear what is armed; what was injected stays on record."""
        httpx.delete(f"{self.url}/control/faults", timeout=10).raise_for_status()

    def injected(self, kind: str) -> list[dict[str, Any]]:
        """Return what it did wrong on purpose."""
        report = httpx.get(f"{self.url}/control/faults", timeout=10).json()
        return [injection for injection in report["injected"] if injection["kind"] == kind]

    @contextmanager
    def hurrying(self, speed: float) -> Iterator[None]:
        """Let its time pass faster, from where it is; in place of the supervised one while that is stopped."""
        self.stack.supervisor.stop("replica")
        command = [sys.executable, "-m", "stack", "run", sys.executable, "-m", "stack.replica", "--speed", f"{speed:g}"]
        log = self.stack.state / "logs" / "replica-hurrying.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, cwd=CHECKOUT, env=self.stack.environment, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                eventually(self._is_up, within=60, what="the hurrying exchange")
                yield
            finally:
                process.terminate()
                process.wait(30)
                self.stack.supervisor.launch("replica")
                eventually(self._is_up, within=60, what="the exchange")

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        except httpx.TransportError:
            return False
