"""A supervisor that restarts a service step by step: `python -m tests.drivers.one_of_two_supervisors OWNER SERVICE`.

Each line on its standard input lets it take the next step: into charge, which it takes from anybody; to stop the
service; to start it again. It says each step when it is done, or that it was fenced off.
"""

from __future__ import annotations

import sys

from include.orchestration.fencing import Fence, FencedOffError
from include.settings import Settings
from include.supervisord import Supervisord

OWNER, SERVICE = sys.argv[1:]


def say(word: str) -> None:
    print(word, flush=True)


settings = Settings.load()
fence, supervisord = Fence(settings.state_dir / "leases" / "ingestion.json"), Supervisord(settings.state_dir)
say("ready")
input()
charge = fence.take(OWNER, has_ended=lambda owner: True)
say("in charge")
input()
try:
    with fence.acting(charge):
        supervisord.stop(SERVICE)
        say("stopped")
        input()
        supervisord.launch(SERVICE)
        say("started")
except FencedOffError:
    say("fenced off")
