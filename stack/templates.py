"""Configuration: the files of a service's folder with `${NAME}` filled in, written where the service reads them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template

PRIVATE = 0o600
EXECUTABLE = 0o700


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace each `${NAME}`.

    Raises:
        KeyError: If the text names something that has no value.
    """
    return Template(text).substitute(values)


def render(source: Path, names: Iterable[str], values: Mapping[str, str], folder: Path) -> str:
    """Write the filled templates into a folder, readable by the owner only, and return one hash over all of them.

    Args:
        source: Where the templates lie.
        names: Their names there, and in the folder.
    """
    digest = hashlib.sha256()
    for name in names:
        text = fill((source / name).read_text(), values)
        digest.update(name.encode() + b"\0" + text.encode() + b"\0")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_private(folder / name, text)
    return digest.hexdigest()[:16]


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole; never is there a moment in which others could read it. Safe beside itself."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
