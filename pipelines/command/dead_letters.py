"""`foreshock dead-letters`: what could not be processed, and why."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from connectors.parsing import mapping_of
from connectors.store import Store
from connectors.store.schema import dead_letters
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import (
    DEFAULT_DATABASE,
    Config,
    Database,
    Json,
    Limit,
    author_key,
)
from pipelines.configuration import load_configuration
from pipelines.retry import RetryResult, retry
from pipelines.sources import Parsing

app = typer.Typer(help="What could not be processed: list, show, retry.", no_args_is_help=True)

_EXCERPT = 2000  # bytes of a payload shown on the screen
_FAILURES_SHOWN = 10


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
    table = Table("id", "source", "place", "stage", "reason", "error", "retried")
    for row in rows:
        error = Text(inert(row["error"]))
        retried = f"{row['retried_at']:%Y-%m-%d %H:%M}" if row["retried_at"] else ""
        named = (row["id"][:12], row["source"], _place(row), row["stage"], row["reason"])
        table.add_row(*named, error, retried)
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
    out.print(f"{row['source']}, {_place(row)}: {row['stage']}, {row['reason']}")
    out.print(Text(inert(row["error"])))
    out.print(Text(inert(_text(row["payload"][:_EXCERPT]))))


@app.command("retry")
def retry_letters(
    letter_ids: Annotated[
        list[str] | None,
        typer.Argument(help="Ids, or their beginnings. None: all that were not retried yet."),
    ] = None,
    database: Database = DEFAULT_DATABASE,
    stage: Annotated[str | None, typer.Option("--stage", help="Only of this stage.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Only for this reason.")] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="FIELD=COLUMN where a field has an unusual name; repeatable."),
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Drive dead letters again, through parsing and tagging into the store.

    What gets through is stored and tagged as a late message: it enters no window any more. What
    does not stays a dead letter.
    """
    parsing = Parsing(mapping_of(mapping or ()))
    tagger = load_configuration(config).tag.tagger()
    with Store.existing(database) as store:
        if letter_ids:
            listing = "foreshock dead-letters list"
            letters = [store.find(dead_letters, one, listing) for one in letter_ids]
        else:
            letters = store.dead_letters(stage=stage, reason=reason)
            letters = [letter for letter in letters if letter["retried_at"] is None]
        result = retry(store, letters, tagger, parsing, author_key())
    if json:
        print_json(msgspec.to_builtins(result))
    else:
        _show(result)
    if result.failed:
        raise typer.Exit(1)


def _show(result: RetryResult) -> None:
    out.print(
        f"Retried {result.tried:,} = {result.stored:,} stored as late messages "
        f"+ {result.duplicates:,} duplicates + {len(result.failed):,} still dead letters"
    )
    for one in result.failed[:_FAILURES_SHOWN]:
        line = f"  {one.id[:12]}  {one.reason}: {inert(one.error)}"
        out.print(line, markup=False, soft_wrap=True)


def _place(row: Mapping[str, Any]) -> str:
    if row["line"] is not None:
        return f"line {row['line']}"
    return "" if row["offset"] is None else f"{row['topic']} {row['partition']}:{row['offset']}"


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "backslashreplace")
