"""`python -m stack`: the one entry point."""

from stack.cli import app

app()
