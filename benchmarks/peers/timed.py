"""Run a command to its end and print how many seconds it took: `timed.py COMMAND…`."""

from __future__ import annotations

import subprocess
import sys

from measured import timed

timed(lambda: subprocess.run(sys.argv[1:], check=True))
