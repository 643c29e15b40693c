"""Exit code 0 if something answers at an address: what the containers' health checks run, once or twice a minute each.

Nothing but the standard library, because importing more would cost the machine more than what it asks.

`tcp://host:port` has to accept a connection, `http://…` to answer with less than 500 (a refusal is a sign of life). In
`http://…#part` the part has to be `healthy` in the JSON that is answered, as Airflow tells it of its processes.
"""

from __future__ import annotations

import json
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request

SECONDS = 5.0


def is_healthy(address: str) -> bool:
    """Whether something answers there as it should."""
    url = urllib.parse.urlsplit(address)
    try:
        if url.scheme == "tcp":
            with socket.create_connection((url.hostname, url.port or 0), SECONDS):
                return True
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(urllib.parse.urldefrag(address).url, timeout=SECONDS) as response:
            part = url.fragment
            return not part or json.load(response)[part]["status"] == "healthy"
    except urllib.error.HTTPError as refused:
        return not url.fragment and refused.code < 500
    except (OSError, ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(0 if all(is_healthy(address) for address in sys.argv[1:]) else 1)
