"""`foreshock detect`: the detector over a plain series of counts."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from alerting.detectors.series import score_csv
from pipelines.command.console import out, print_json
from pipelines.command.options import Json


def command(
    series: Annotated[Path, typer.Argument(help="CSV with the columns timestamp,value.")],
    output: Annotated[
        Path, typer.Option("--output", help="CSV to write: timestamp,value,expected,score,alert.")
    ],
    json: Json = False,
) -> None:
    """Find surges in a series of counts, row by row, looking at the past alone."""
    summary = score_csv(series, output)
    if json:
        print_json({**msgspec.to_builtins(summary), "output": str(output)})
    else:
        out.print(f"{summary.rows:,} rows, {summary.alerts:,} alerts. Scores: {output}")
