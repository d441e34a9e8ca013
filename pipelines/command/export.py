"""`foreshock alerts export`: all that alerts rest on, in one file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from connectors.errors import StoreError
from connectors.store import Store
from connectors.store.schema import alerts
from pipelines.command.console import out
from pipelines.command.decisions import moment
from pipelines.command.options import DEFAULT_DATABASE, Database
from pipelines.export import dossier
from pipelines.export.writing import Form, write


def export(
    target: Annotated[Path, typer.Option("--out", help="File to write.")],
    alert_id: Annotated[
        str | None, typer.Argument(help="Id of one alert, or its beginning. Default: all.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Only alerts opened at or after; event time, UTC.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Only alerts opened before; event time, UTC.")
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="For machines, to read, or to print.")
    ] = "jsonl",
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Write alerts with all that they rest on: spikes, messages, tags, decisions, manifests."""
    if alert_id is not None and (start or end):
        raise typer.BadParameter("one alert has no --from and --to: give either")
    with Store.existing(database) as store:
        if alert_id is not None:
            wanted = dossier.one(store.find(alerts, alert_id, "foreshock alerts list")["id"])
        else:
            wanted = dossier.opened(moment(start) if start else None, moment(end) if end else None)
        with dossier.gathered(store, wanted) as gathered:
            if not gathered.alerts:
                raise StoreError(
                    f"no alert in {database} opened in that time: foreshock alerts list"
                )
            try:
                write(gathered, form, target)
            except OSError as error:
                raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    events = sum(map(len, gathered.events.values()))
    out.print(
        Text(
            f"{target}: {len(gathered.alerts):,} alerts, {events:,} events, "
            f"{len(gathered.messages):,} messages; the ledger ends at row "
            f"{gathered.end.sequence}, {gathered.end.hash[:16]}…"
        )
    )
