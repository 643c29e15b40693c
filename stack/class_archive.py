"""An archive of Spark's classes, from which each Spark process on this machine starts.

To find, check and link some twenty thousand classes takes a starting Spark a third of its processor time. Java keeps
them ready in a file (class data sharing) that all processes map: it is made once for a Java runtime and a set of jars,
from the classes that `spark_apps/rehearsal` needs.

An archive is for one class path, and none with folders in it. Spark puts its configuration folder there, so what Spark
composes is followed by a class path of ours, which wins.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from include.settings import CHECKOUT
from stack import jars
from stack.failures import StackError
from stack.java import Java
from stack.layout import Layout, inherited

SPARK_OPTIONS = "SPARK_SUBMIT_OPTS"
"""The variable with options for the process that becomes Spark, and not for the one that only composes its command."""
REHEARSAL = CHECKOUT / "spark_apps" / "rehearsal" / "job.py"
CATALOG = "lake"
PATIENCE_SECONDS = 600
ASK_AGAIN_SECONDS = 3600
"""After this long Java is asked again to make an archive that it could not make: what was in the way may be mended."""
QUIET = "-Xlog:cds*=off"
"""Java says on standard output when it cannot use an archive, and goes on without it."""


def environment(layout: Layout, compiling: Iterable[str]) -> dict[str, str]:
    """Return what tells a Spark process how Java is to compile, and to start from the archive; it starts without, too.

    Args:
        compiling: Java's options; see `stack.java`.
    """
    further = [str(layout.jars(jars.CHECKPOINTS) / "*")] if layout.settings.checkpoints == "s3" else []
    options = (
        *compiling,
        "-cp", os.pathsep.join([*class_path(layout), *further]),
        f"-Dlog4j2.configurationFile={layout.conf('spark') / 'log4j2.properties'}",
        f"-XX:SharedArchiveFile={path(layout)}",
        QUIET,
    )  # fmt: skip
    return {SPARK_OPTIONS: " ".join(options)}


def class_path(layout: Layout) -> list[str]:
    """Return what the archive was made for, as Java reads it: longer ones may only go on from it."""
    return [str(folder.resolve() / "*") for folder in (layout.jars(jars.SPARK), _home_of_spark() / "jars")]


def path(layout: Layout) -> Path:
    """Say where the archive for this Java and these jars lies, whether or not it has been made."""
    digest = hashlib.sha256(_release(layout.spark_java).encode())
    for place in class_path(layout):
        for jar in sorted(Path(place).parent.glob("*.jar")):
            digest.update(f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}\n".encode())
    return layout.settings.tools_dir / "classes" / f"spark-{digest.hexdigest()[:16]}.jsa"


def refusal(layout: Layout) -> Path:
    """Say where it is written why there is no archive, if Java could not make one."""
    return path(layout).with_suffix(".refused")


def bring(layout: Layout) -> None:
    """Make the archive, unless it is there. Where Java cannot, that is noted: Spark starts without it, only later."""
    archive, refused = path(layout), refusal(layout)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (archive.parent / "classes.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if archive.exists() or (refused.exists() and time.time() - refused.stat().st_mtime < ASK_AGAIN_SECONDS):
            return
        try:
            with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".incoming-") as scratch:
                _make(layout, Path(scratch)).replace(archive)
            refused.unlink(missing_ok=True)
        except (StackError, OSError, subprocess.TimeoutExpired) as error:
            refused.write_text(f"{error}\n")
        for old in archive.parent.glob("spark-*"):
            if old.stem != archive.stem:
                old.unlink()


def _make(layout: Layout, scratch: Path) -> Path:
    """Note the classes of a rehearsal and archive them; return the file."""
    classes, archive = scratch / "classes", scratch / "spark.jsa"
    where = os.pathsep.join(class_path(layout))
    catalogs = {
        CATALOG: {"": "org.apache.iceberg.spark.SparkCatalog", ".type": "hadoop", ".warehouse": f"{scratch}/warehouse"},
        "nessie": {
            "": "org.apache.iceberg.spark.SparkCatalog",
            ".catalog-impl": "org.apache.iceberg.nessie.NessieCatalog",
            ".uri": "http://127.0.0.1:9/api/v2",
            ".client-api-version": "2",
            ".warehouse": f"{scratch}/warehouse",
        },
    }
    configuration = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": f"file://{scratch}/spark",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions,"
        "org.projectnessie.spark.extensions.NessieSparkSessionExtensions",
    } | {
        f"spark.sql.catalog.{catalog}{key}": value for catalog, of in catalogs.items() for key, value in of.items()
    }  # fmt: skip
    options = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", where, f"-XX:DumpLoadedClassList={classes}")
    _run(
        [
            str(layout.bin / "spark-submit"), "--master", "local[1]", "--driver-memory", "512m",
            *(word for name, value in configuration.items() for word in ("--conf", f"{name}={value}")),
            str(REHEARSAL),
        ],
        inherited(os.environ) | layout.environment() | {
            "LAKE_CATALOG": CATALOG,
            "LAKE_STATE_DIR": str(scratch / "state"),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_CONF_DIR": str(scratch / "no-configuration"),
            "SPARK_LOCAL_DIRS": str(scratch),
            "SPARK_LOCAL_IP": "127.0.0.1",
            SPARK_OPTIONS: " ".join(options),
        },
    )  # fmt: skip
    java = str(layout.spark_java.binary)
    listed = (f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={archive}")
    _run([java, "-Xshare:dump", "-XX:+UseSerialGC", *listed, "-cp", where], inherited(os.environ))
    return archive


def _run(command: Iterable[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        list(command), env=environment, cwd=CHECKOUT, capture_output=True, text=True, errors="replace",
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise StackError(f"{' '.join(done.args)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


def _home_of_spark() -> Path:
    # Found, not imported: that would take a second of each command.
    package = importlib.util.find_spec("pyspark")
    if package is None or package.origin is None:
        raise StackError("pyspark is missing from the Python environment: run `make` again to repair it.")
    return Path(package.origin).parent


def _release(java: Java) -> str:
    """Return what tells one build of Java from another."""
    file = java.home / "release"
    return f"{java.home}\n{file.read_text() if file.exists() else ''}"
