"""`python -m sharewell.cli`."""

from sharewell.cli.main import run

run()
