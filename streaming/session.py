"""A session with a venue's REST API."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp


def open_session(
    root: str, *, is_remote: bool, seconds: float = 20, headers: Mapping[str, str] | None = None
) -> aiohttp.ClientSession:
    """Return a session whose requests name paths below a root, without a slash at their beginning.

    Args:
        root: The API's root address.
        is_remote: Whether a proxy of the environment is to be used.
        seconds: How long a request may take, all in all.
        headers: Sent with every request.
    """
    return aiohttp.ClientSession(
        root.rstrip("/") + "/",
        timeout=aiohttp.ClientTimeout(total=seconds, connect=5),
        headers={"User-Agent": "crypto-lakehouse", **(headers or {})},
        trust_env=is_remote,
    )
