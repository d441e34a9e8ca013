"""`foreshock demo`: the bundled sample through the whole pipeline."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from pipelines.command.console import out, print_json
from pipelines.command.options import Json
from pipelines.command.replay import run_replay, show
from pipelines.sample import SAMPLE
from pipelines.sources import File, Parsing

_FOLDER = Path(".foreshock")


def command(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the store and the report go.")
    ] = _FOLDER,
    json: Json = False,
) -> None:
    """Run the bundled sample of real tweets through everything, and write a report."""
    folder.mkdir(parents=True, exist_ok=True)
    store, report = folder / "demo.db", folder / "report.html"
    for old in folder.glob("demo.db*"):
        old.unlink()
    database = f"sqlite:///{store}"
    if not json:
        out.print("Replaying five months of tweets on thirty American companies (StockNet, 2014)")
    result = run_replay([File(SAMPLE)], database, report, Parsing(source="stocknet"), None)
    if json:
        print_json({**msgspec.to_builtins(result), "database": database, "report": str(report)})
        return
    show(result, database)
    out.print(f"All alerts: foreshock alerts list --database {database}", soft_wrap=True)
    out.print(f"Report: {report.resolve()}", soft_wrap=True)
    if folder == _FOLDER:
        out.print("Look around and decide: foreshock console --demo")
