"""`python -m sharewell.cli`."""

from sharewell.cli.main import app

app(prog_name="sharewell")
