"""What a gate found as Great Expectations' own pages, for people to click through."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from great_expectations.data_context import AbstractDataContext

KEPT_HOURS = 72
"""How many hours have pages: those that were judged last; half a megabyte each, and layer."""
STATIC = "static"
"""The folder of fonts, pictures and styles, four megabytes that all pages share."""


def write_pages(context: AbstractDataContext, folder: Path) -> None:
    """Write what was validated in a context as a site of its own, in place of the one before.

    Args:
        folder: `<root>/<hour>/<layer>`; its first page is `index.html`.
    """
    site, root = folder.name, folder.parent.parent
    shutil.rmtree(folder, ignore_errors=True)
    context.add_data_docs_site(
        site_name=site,
        site_config={
            "class_name": "SiteBuilder",
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    context.build_data_docs(site_names=[site])
    _share(folder / STATIC, root / STATIC)
    for old in sorted(hours(root), key=lambda hour: hour.stat().st_mtime, reverse=True)[KEPT_HOURS:]:
        shutil.rmtree(old, ignore_errors=True)


def hours(root: Path) -> list[Path]:
    """Return the folder of each hour that has pages, the newest hour first."""
    there = [path for path in root.iterdir() if path.is_dir() and path.name != STATIC] if root.exists() else []
    return sorted(there, reverse=True)


def _share(own: Path, shared: Path) -> None:
    """Put a link in place of a folder that is the same for all sites."""
    if not shared.exists():
        own.replace(shared)
    else:
        shutil.rmtree(own)
    own.symlink_to(Path("..", "..", shared.name), target_is_directory=True)
