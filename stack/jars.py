"""Java archives: coordinates in `<service>/jgo.toml`, exact versions and sha256 in the `jgo.lock.toml` beside it.

A jar reaches its folder only after its bytes match the lock, so a folder never holds a half or a foreign file. Where
jars come from is jgo's business: Maven Central, or the repositories that the user's `jgo.conf` names instead.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from jgo.config import GlobalSettings
from jgo.env import EnvironmentSpec, LockedDependency, LockFile, compute_spec_hash
from jgo.maven import Artifact, MavenContext, PythonResolver
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from include.settings import CHECKOUT, Settings
from stack.failures import StackError

PARALLEL_DOWNLOADS = 4
VERIFIED = ".verified.json"
"""In a jar folder: size and time of each file whose hash was found right, so that a second look reads no bytes."""


@dataclass(frozen=True, slots=True)
class JarSet:
    """The jars of one service.

    Args:
        name: The name of their folder under `<tools>/jars`.
        home: The folder of the service that holds `jgo.toml` and its lock.
        with_dependencies: Whether what the listed jars depend on belongs to them, too. A fat jar brings its own.
    """

    name: str
    home: Path
    with_dependencies: bool = False

    @property
    def spec(self) -> Path:
        """The committed list of coordinates."""
        return self.home / "jgo.toml"

    @property
    def lock(self) -> Path:
        """The committed list of exact files and their sha256."""
        return self.home / "jgo.lock.toml"

    def folder(self, tools_dir: Path) -> Path:
        """Return where the jars lie."""
        return tools_dir / "jars" / self.name

    def files(self, tools_dir: Path) -> list[Path]:
        """Return the paths of all files of the lock, whether or not they are there."""
        return [self.folder(tools_dir) / file_name(jar) for jar in locked(self)]


STACK = CHECKOUT / "stack"
KAFKA = JarSet("kafka", STACK / "kafka", with_dependencies=True)
NESSIE = JarSet("nessie", STACK / "nessie")
S3PROXY = JarSet("s3proxy", STACK / "s3")
SPARK = JarSet("spark", STACK / "spark")
CHECKPOINTS = JarSet("checkpoints", STACK / "checkpoints")
MINIMAL = (KAFKA, NESSIE, S3PROXY, SPARK)


def needed(settings: Settings) -> tuple[JarSet, ...]:
    """Return the sets that every profile needs with these settings."""
    return (*MINIMAL, CHECKPOINTS) if settings.checkpoints == "s3" else MINIMAL


def sha256_of(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_name(jar: LockedDependency) -> str:
    """Name a locked file as its repository does."""
    classifier = f"-{jar.classifier}" if jar.classifier else ""
    return f"{jar.artifactId}-{jar.version}{classifier}.{jar.packaging}"


def locked(jars: JarSet) -> list[LockedDependency]:
    """Read what the lock promises.

    Raises:
        StackError: If the lock is missing, was made from another list, or names a file without its sha256.
    """
    if not jars.lock.exists():
        raise StackError(f"{jars.lock} is missing: run `python -m stack lock`.")
    lock = LockFile.load(jars.lock)
    if lock.spec_hash != compute_spec_hash(jars.spec):
        raise StackError(f"{jars.lock} was not made from {jars.spec}: run `python -m stack lock`.")
    unhashed = [file_name(jar) for jar in lock.dependencies if not jar.sha256]
    if unhashed:
        raise StackError(f"{jars.lock} has no sha256 for {', '.join(unhashed)}: run `python -m stack lock`.")
    return lock.dependencies


def faults(jars: JarSet, tools_dir: Path, *, thorough: bool = False) -> dict[str, str]:
    """Say what is wrong in a jar folder: file name → `missing`, `changed` or `stray`.

    Args:
        thorough: Whether to read every byte again; otherwise files whose size and time are as they were when they were
            verified are trusted.
    """
    folder = jars.folder(tools_dir)
    wanted = {file_name(jar): jar.sha256 for jar in locked(jars)}
    trusted = {} if thorough else _verified(folder)
    found: dict[str, str] = {}
    for name, sha256 in wanted.items():
        path = folder / name
        if not path.exists():
            found[name] = "missing"
        elif trusted.get(name) != _mark(path, sha256) and sha256_of(path) != sha256:
            found[name] = "changed"
    strays = {path.name for path in folder.glob("*.jar")} - set(wanted)
    return found | dict.fromkeys(sorted(strays), "stray")


def fetch(jar_sets: tuple[JarSet, ...], tools_dir: Path, progress: Progress) -> int:
    """Bring every locked jar into its folder and return how many were downloaded; nothing if all are there.

    Raises:
        StackError: If a file cannot be had, or its bytes are not those of the lock.
    """
    wanted: list[tuple[JarSet, LockedDependency]] = []
    for jars in jar_sets:
        wrong = faults(jars, tools_dir)
        for name in (name for name, fault in wrong.items() if fault != "missing"):
            (jars.folder(tools_dir) / name).unlink()
        wanted += [(jars, jar) for jar in locked(jars) if file_name(jar) in wrong]
    if wanted:
        incoming = tools_dir / "jars" / ".incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        context = _maven(incoming, progress)
        overall = progress.add_task("Java archives", total=None)
        try:
            with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
                downloads = [pool.submit(_fetch_one, jar, jars.folder(tools_dir), context) for jars, jar in wanted]
                for download in as_completed(downloads):
                    download.result()
        finally:
            progress.remove_task(overall)
            shutil.rmtree(incoming, ignore_errors=True)
    for jars in jar_sets:
        _remember(jars, tools_dir)
    return len(wanted)


def write_lock(jars: JarSet, scratch: Path, progress: Progress) -> Path:
    """Resolve the coordinates of a set anew and write exact versions and sha256 into its lock."""
    context = _maven(scratch, progress)
    spec = EnvironmentSpec.load(jars.spec)
    listed = [context.create_dependency(coordinate) for coordinate in spec.coordinates]
    if jars.with_dependencies:
        resolved, brought = context.resolver.resolve(listed)
        listed = resolved + brought
    lock = LockFile.from_resolved_dependencies(
        sorted(listed, key=str), environment_name=spec.name, spec_hash=compute_spec_hash(jars.spec)
    )
    lock.save(jars.lock)
    return jars.lock


def download_progress() -> Progress:
    """Give a progress display for downloads: what, how much, how fast."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), transient=True
    )


def _maven(cache: Path, progress: Progress) -> MavenContext:
    """Open Maven's world over a cache of our own; the user's own cache is read, too, and never written."""
    own = GlobalSettings.load()

    @contextmanager
    def shown(name: str, size: int) -> Iterator[Callable[[int], None]]:
        task = progress.add_task(name, total=size)
        try:
            yield lambda count: progress.advance(task, count)
        finally:
            progress.remove_task(task)

    callback: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = shown
    return MavenContext(
        resolver=PythonResolver(progress_callback=callback),
        repo_cache=cache,
        local_repos=[own.repo_cache],
        remote_repos=own.repositories or None,
        timeout=60,
    )


def _fetch_one(jar: LockedDependency, folder: Path, context: MavenContext) -> None:
    """Download one file beside its place, verify it, and move it there."""
    name = file_name(jar)
    component = context.project(jar.groupId, jar.artifactId).at_version(jar.version)
    artifact: Artifact = component.artifact(jar.classifier or "", jar.packaging)
    try:
        path = artifact.resolve()
    except (requests.RequestException, RuntimeError) as error:
        raise StackError(
            f"Could not download {name} ({error}); check the network and run the command again."
        ) from error
    if sha256_of(path) != jar.sha256:
        raise StackError(
            f"{path} does not have the sha256 of the lock; the file at its source was changed or cut short."
        )
    folder.mkdir(parents=True, exist_ok=True)
    if path.is_relative_to(context.repo_cache):
        path.replace(folder / name)
    else:
        shutil.copyfile(path, folder / f".{name}")
        (folder / f".{name}").replace(folder / name)


def _mark(path: Path, sha256: str | None) -> list[object]:
    """Give what stays the same as long as nobody touches a file."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, sha256]


def _verified(folder: Path) -> dict[str, list[object]]:
    """Read which files were found right before; none if the note is missing or unreadable."""
    try:
        marks: dict[str, list[object]] = json.loads((folder / VERIFIED).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return marks


def _remember(jars: JarSet, tools_dir: Path) -> None:
    """Note the size and time of the verified files."""
    folder = jars.folder(tools_dir)
    marks = {file_name(jar): _mark(folder / file_name(jar), jar.sha256) for jar in locked(jars)}
    (folder / VERIFIED).write_text(json.dumps(marks, indent=1))
