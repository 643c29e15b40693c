"""What stops a producer."""

from __future__ import annotations


class RefusalError(RuntimeError):
    """The producer cannot go on; the message is one sentence for the operator that says what to do."""
