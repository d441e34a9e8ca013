"""`python -m pipelines` is the `foreshock` command."""

from pipelines.command.main import run

run()
