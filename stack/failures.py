"""What a user can mend: said in one sentence, without a traceback."""

from __future__ import annotations


class StackError(Exception):
    """Something that stops a command; its text is one sentence that says what to do."""
