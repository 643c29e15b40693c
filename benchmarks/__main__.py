"""Run all workloads, or those that are named, and write their results: `python -m benchmarks [demo …]`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks
from benchmarks.report import write


def workloads() -> list[str]:
    """Name the workloads: every module here that can be measured."""
    names = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return [name for name in names if name not in ("__main__", "report")]


def main(names: list[str]) -> None:
    """Measure and write, one workload after the other.

    Raises:
        SystemExit: If there is no workload of a name that was given.
    """
    if unknown := set(names) - set(workloads()):
        raise SystemExit(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(workloads())}")
    for name in names or workloads():
        write(name, importlib.import_module(f"benchmarks.{name}").measure())


if __name__ == "__main__":
    main(sys.argv[1:])
