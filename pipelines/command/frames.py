"""`foreshock export`: what a store holds, as Parquet for pandas and the like."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from connectors.errors import StoreError
from connectors.store import Store
from pipelines.command.console import out
from pipelines.command.decisions import moment
from pipelines.command.options import DEFAULT_DATABASE, Database


def command(
    kind: Annotated[
        Literal["messages", "windows", "alerts"],
        typer.Argument(help="Messages with their tags, counts by time, or alerts."),
    ],
    target: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    start: Annotated[
        str | None, typer.Option("--from", help="Only from this event time on, UTC.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Only before this event time, UTC.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Windows or alerts of one key: overall, topic:…, entity:…"),
    ] = None,
    minutes: Annotated[
        bool, typer.Option("--minutes", help="Windows of a minute. Default: of an hour.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Write messages, windows or alerts as a Parquet file."""
    from pipelines import frames  # pandas is slow to import

    wanted = frames.Wanted(
        start=moment(start) if start else None,
        end=moment(end) if end else None,
        key=key,
        seconds=60 if minutes else 3600,
    )
    try:
        with Store.existing(database) as store:
            rows = frames.write(kind, store, target, wanted)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    out.print(Text(f"{target}: {rows:,} {kind}"))
