"""What is checked before anything is started: each fault is one sentence that says what to do."""

from __future__ import annotations

import errno
import json
import re
import shutil
import socket
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil
from pydantic import ValidationError

from include.settings import Endpoint, Settings
from stack.failures import StackError
from stack.service import Service

FREE_DISK = 2 * 1024**3
"""Bytes that a day of the default products needs with a good margin."""
PRODUCT = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")
UNWRITABLE = re.compile(r"""[\s%,;:#$'"\\*]""")
"""What separates, quotes or expands in the configuration of one service or another."""
FIXED = {
    "LAKE_EXCHANGE": "was begun with the exchange",
    "LAKE_RECORDING": "plays the recording",
    "LAKE_FIRST_HOUR": "begins with the hour",
    "LAKE_REPLICA_SHIFT_HOURS": "moves its recording by hours",
    "LAKE_BUCKET": "keeps its tables in the bucket",
    "LAKE_CATALOG": "has the catalog",
    "LAKE_BRANCH": "shows readers the branch",
}
"""Choices of the first start that cannot be changed without making the lake's data wrong, and what each means."""


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        StackError: If one of them is wrong; with its variable and what is wrong.
    """
    try:
        settings = Settings.load()
    except ValidationError as invalid:
        faults = [f"{_variable(fault['loc'])}={fault['input']!r}: {fault['msg']}" for fault in invalid.errors()]
        raise StackError(f"A setting is wrong: {'; '.join(faults)}.") from invalid
    unknown = [product for product in settings.products if not PRODUCT.fullmatch(product)]
    if unknown:
        raise StackError(f"LAKE_PRODUCTS names {', '.join(unknown)}, which is no product; write them like BTC-USD.")
    if not settings.products:
        raise StackError("LAKE_PRODUCTS is empty; name at least one product, like BTC-USD.")
    return settings


def _variable(location: tuple[int | str, ...]) -> str:
    return "LAKE_" + "__".join(str(part) for part in location).upper()


def check_kept(kept: Mapping[str, str], wanted: Mapping[str, str], state_dir: Path) -> None:
    """Refuse to run a lake with other choices than those it was begun with.

    Raises:
        StackError: Naming both choices and the ways out.
    """
    for name, meaning in FIXED.items():
        if name in kept and name in wanted and kept[name] != wanted[name]:
            raise StackError(
                f"The lake in {state_dir} {meaning} {kept[name]}, not {wanted[name]}: run `make clean` to give it up, "
                "or keep it and name another folder in LAKE_STATE_DIR."
            )


def check_played(products: Iterable[str], played: set[str]) -> None:
    """Refuse products that the replica cannot know.

    Raises:
        StackError: Naming them, and those that there are.
    """
    listed = played | set(Settings.model_fields["products"].default)
    _refuse_unknown([product for product in products if product not in listed], "the recording", sorted(listed))


def check_listed(products: Iterable[str], rest: str) -> None:
    """Refuse products that the exchange does not list.

    Raises:
        StackError: Naming them, or saying that the exchange cannot be asked.
    """
    try:
        with urllib.request.urlopen(f"{rest}/products", timeout=15) as response:
            listed = {product["id"] for product in json.load(response)}
    except (OSError, ValueError) as error:
        raise StackError(f"The exchange does not answer at {rest} ({error}): check the network, or run `make demo`, "
                         "which needs none.") from error  # fmt: skip
    _refuse_unknown([product for product in products if product not in listed], "the exchange", ["BTC-USD", "ETH-USD"])


def _refuse_unknown(unknown: list[str], who: str, examples: list[str]) -> None:
    if unknown:
        raise StackError(f"LAKE_PRODUCTS names {', '.join(unknown)}, which {who} does not have; there are for example "
                         f"{', '.join(examples)}.")  # fmt: skip


def check_path(path: Path) -> None:
    """Refuse a path that some service's configuration has no way to write.

    Raises:
        StackError: With the characters that are in the way.
    """
    troublesome = sorted(set(UNWRITABLE.findall(str(path))))
    if troublesome:
        signs = ", ".join("a space" if sign.isspace() else sign for sign in troublesome)
        raise StackError(f"The path {path} has {signs} in it, which not every service can read: choose another one, "
                         "for the checkout or in LAKE_STATE_DIR and LAKE_TOOLS_DIR.")  # fmt: skip


def check_folder(state_dir: Path) -> None:
    """Refuse a state folder that cannot be written, or that lies on a full disk.

    Raises:
        StackError: With the folder and what is missing.
    """
    check_path(state_dir)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        trial = state_dir / ".writable"
        trial.write_text("")
        trial.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StackError(f"The disk of {state_dir} is full: free {_gigabytes(FREE_DISK)}.") from error
        raise StackError(
            f"{state_dir} cannot be written ({error.strerror}): name another in LAKE_STATE_DIR."
        ) from error
    free = shutil.disk_usage(state_dir).free
    if free < FREE_DISK:
        raise StackError(
            f"The disk of {state_dir} has {_gigabytes(free)} left and the stack needs {_gigabytes(FREE_DISK)}: "
            "free some, or name a folder on another disk in LAKE_STATE_DIR."
        )


def check_ports(services: Iterable[Service]) -> None:
    """Refuse to start services whose ports are taken, or are given to two of them.

    Raises:
        StackError: Naming every such port, who holds it and how to choose another.
    """
    owners: dict[int, str] = {}
    faults = []
    for service in services:
        for endpoint in service.ports:
            if endpoint.port in owners:
                faults.append(f"port {endpoint.port} is given to {owners[endpoint.port]} and to {service.name}")
            owners[endpoint.port] = service.name
            if is_taken(endpoint):
                faults.append(f"port {endpoint.port} of {service.name} is taken by {holder(endpoint.port)}")
    if faults:
        raise StackError(
            f"{'; '.join(faults)}: end that process, or choose another port, as in LAKE_KAFKA__PORT=19092."
        )


def is_taken(endpoint: Endpoint) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.host, endpoint.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise StackError(f"{endpoint.address} cannot be listened on: {error.strerror}.") from error
    return False


def holder(port: int) -> str:
    """Say which process listens on a port, as far as this user may know."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return "a process of another user"
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            if connection.pid is None:
                return "a process of another user"
            try:
                return f"process {connection.pid} ({' '.join(psutil.Process(connection.pid).cmdline())[:80]})"
            except psutil.Error:
                return f"process {connection.pid}"
    return "a process that is not to be seen from here"


def _gigabytes(count: int) -> str:
    return f"{count / 1024**3:.1f} GB"
