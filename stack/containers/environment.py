"""Write `.env`, which `docker compose` reads: the secrets, which are made once, and the sizes of a profile.

`make secrets` runs it with any Python 3.11, before anything is installed; so it needs the standard library alone.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from stack import first_start
from stack.containers import sizes

CHECKOUT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = CHECKOUT / ".env"
EXAMPLE = CHECKOUT / ".env.example"


def new_secrets() -> dict[str, str]:
    """Make one of each secret: those of a native stack, and Grafana's."""
    return first_start.new_secrets() | {"GRAFANA_PASSWORD": secrets.token_hex(8)}


def choices(profile: str, *, is_demo: bool) -> dict[str, str]:
    """Return what a profile means to compose and to the settings."""
    return {
        "COMPOSE_PROFILES": f"{profile},demo" if is_demo else profile,
        "LAKE_PROFILE": "minimal" if profile == "minimal" else "standard",
        "LAKE_EXCHANGE": "replica" if is_demo else "live",
        **sizes.variables(profile),
    }


def write(path: Path, profile: str, *, is_demo: bool) -> bool:
    """Write the file for a profile; secrets and other lines that are there stay; whether secrets were made."""
    kept = first_start.read(path)
    made = new_secrets()
    sized = {name for each in sizes.PROFILES for name in sizes.variables(each)}
    others = {name: value for name, value in kept.items() if name not in sized}
    # Compose would take a `$` for the name of a variable; no secret of ours has one.
    first_start.write(path, made | others | choices(profile, is_demo=is_demo))
    return not made.keys() <= kept.keys()


def example() -> str:
    """Return `.env.example`: the same file with words in place of the secrets."""
    lines = [
        "# What `docker compose` reads from `.env`. `make secrets` writes that file with secrets of its own:",
        "# `make secrets PROFILE=standard DEMO=yes`. Any setting of include/settings.py may be added as LAKE_….",
        *(f'{name}="made by make secrets"' for name in sorted(new_secrets())),
        *(f'{name}="{value}"' for name, value in sorted(choices("minimal", is_demo=True).items())),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write `.env` and say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=sorted(sizes.PROFILES), default="minimal")
    parser.add_argument("--demo", action="store_true", help="play recorded trades in place of the live exchanges")
    parser.add_argument("--example", action="store_true", help="print .env.example in place of writing anything")
    parser.add_argument("--path", type=Path, default=ENVIRONMENT)
    chosen = parser.parse_args()
    if chosen.example:
        sys.stdout.write(example())
        return 0
    os.umask(0o077)
    made = write(chosen.path, chosen.profile, is_demo=chosen.demo)
    secrets_are = "with new secrets" if made else "its secrets are those it had"
    sys.stdout.write(f"{chosen.path} is written for the profile {chosen.profile}, {secrets_are}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
