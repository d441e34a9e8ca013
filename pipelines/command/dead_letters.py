"""`foreshock dead-letters`: what could not be processed, and why."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from connectors.store import Store
from connectors.store.schema import dead_letters
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import DEFAULT_DATABASE, Database, Json, Limit

app = typer.Typer(help="List and show what could not be processed.", no_args_is_help=True)

_EXCERPT = 2000  # bytes of a payload shown on the screen


@app.command("list")
def list_letters(
    database: Database = DEFAULT_DATABASE,
    stage: Annotated[str | None, typer.Option("--stage", help="Only of this stage.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Only for this reason.")] = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List the dead letters."""
    with Store.existing(database) as store:
        rows = store.dead_letters(stage=stage, reason=reason, limit=limit)
    if json:
        print_json([{**row, "payload": _text(row["payload"])} for row in rows])
        return
    table = Table("id", "source", "line", "stage", "reason", "error")
    for row in rows:
        line = "" if row["line"] is None else str(row["line"])
        error = Text(inert(row["error"]))
        table.add_row(row["id"][:12], row["source"], line, row["stage"], row["reason"], error)
    out.print(table if rows else "No dead letters.")


@app.command("show")
def show_letter(
    letter_id: Annotated[str, typer.Argument(help="Id of the dead letter, or its beginning.")],
    database: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Show one dead letter with its original bytes."""
    with Store.existing(database) as store:
        row = store.find(dead_letters, letter_id, "foreshock dead-letters list")
    if json:
        print_json({**row, "payload": _text(row["payload"])})
        return
    out.print(f"{row['source']}, line {row['line']}: {row['stage']}, {row['reason']}")
    out.print(Text(inert(row["error"])))
    out.print(Text(inert(_text(row["payload"][:_EXCERPT]))))


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "backslashreplace")
