"""Run all workloads, or those that are named, and write their results: `python -m benchmarks [demo …]`.

With `--smoke` a small part of each is done, and its results are only shown: that it works, not how fast it is.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks
from benchmarks.report import write

SMOKE = "--smoke"
SHARED = ("__main__", "history", "lake", "report")
"""What workloads are made of."""


def workloads() -> list[str]:
    """Name the workloads: every module here that can be measured."""
    return [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in SHARED]


def main(names: list[str], *, smoke: bool) -> None:
    """Measure and write, one workload after the other.

    Raises:
        SystemExit: If there is no workload of a name that was given.
    """
    if unknown := set(names) - set(workloads()):
        raise SystemExit(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(workloads())}")
    for name in names or workloads():
        workload = importlib.import_module(f"benchmarks.{name}")
        if not smoke:
            write(name, workload.measure())
        elif hasattr(workload, "SMOKE"):
            print(workload.measure(workload.SMOKE))
        else:
            print(f"{name} has no small size", file=sys.stderr)


if __name__ == "__main__":
    main([word for word in sys.argv[1:] if word != SMOKE], smoke=SMOKE in sys.argv)
