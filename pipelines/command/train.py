"""`foreshock train`: the recipe that made the shipped model, and what analysts corrected."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer
from sqlalchemy import select

from connectors.files import read_messages
from connectors.message import Message
from connectors.store import Store
from connectors.store.schema import messages as stored
from models.errors import ModelError
from pipelines.command.console import err, inert, out
from pipelines.records import content

_IDS_AT_ONCE = 500
_IDS_SHOWN = 5
_COLUMNS = ("id", "source", "published_at", "title", "text")

Texts = dict[str, str]


def command(
    data: Annotated[Path, typer.Option("--data", help="Folder that holds the data sets.")],
    output: Annotated[Path, typer.Option("--out", help="Folder to write the artifact to.")],
    recipe: Annotated[
        Literal["open", "research"],
        typer.Option("--recipe", help="open: MIT-licensed texts alone. research: all sets."),
    ] = "open",
    plan: Annotated[
        Path | None, typer.Option("--plan", help="TOML file with other numbers than the recipe's.")
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="One network on the labels alone: a fraction of it.")
    ] = False,
    search: Annotated[
        int | None,
        typer.Option(
            "--search", min=1, help="Try so many settings instead, and write the best as a plan."
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option("--corrections", help="CSV of corrected labels: message_id,label[,head]."),
    ] = None,
    messages: Annotated[
        Path | None, typer.Option("--messages", help="File that holds the corrected messages.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="Store that holds the corrected messages.")
    ] = None,
) -> None:
    """Train a model and write it as an artifact; a run that was stopped goes on."""
    if importlib.util.find_spec("torch") is None:
        raise ModelError("Training needs PyTorch. Install it with: pip install 'foreshock[train]'")
    if corrections and (messages is None) == (database is None):
        raise typer.BadParameter(
            "say where the corrected messages stand: --messages FILE or --database URL",
            param_hint="--corrections",
        )
    # PyTorch is an extra: a command line without it must still start.
    from models.training.corrections import joined, read_corrections
    from models.training.recipe import train
    from models.training.recipes import read_plan, recipe_plan

    chosen = read_plan(plan) if plan else recipe_plan("small" if small else recipe)
    if search is not None:
        from models.training.searching import search as search_settings

        best = search_settings(recipe, data, output, search, chosen)
        out.print(f"Wrote {best}. Train by it with: foreshock train --plan {best}")
        return
    wanted = read_corrections(corrections) if corrections else []
    ids = {correction.message_id for correction in wanted}
    texts = _from_file(messages, ids) if messages else _from_store(database, ids)
    examples, unknown = joined(wanted, texts)
    _tell_unknown(unknown)
    folder = train(recipe, data, output, chosen, examples)
    out.print(f"Wrote {folder}. Measure it with: foreshock evaluate FILE --model {folder}")


def _from_file(path: Path, ids: set[str]) -> Texts:
    found: Texts = {}
    for message in read_messages(path):
        if isinstance(message, Message) and message.id in ids:
            found[message.id] = content(message)
    return found


def _from_store(url: str | None, ids: Iterable[str]) -> Texts:
    wanted = sorted(ids)
    found: Texts = {}
    if url is None:
        return found
    with Store.existing(url) as store:
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            query = select(*(stored.c[name] for name in _COLUMNS)).where(
                stored.c.id.in_(wanted[start : start + _IDS_AT_ONCE])
            )
            found |= {row["id"]: content(Message(**row)) for row in store.rows(query)}
    return found


def _tell_unknown(ids: list[str]) -> None:
    if ids:
        shown = ", ".join(inert(i) for i in ids[:_IDS_SHOWN])
        more = f" and {len(ids) - _IDS_SHOWN} more" if len(ids) > _IDS_SHOWN else ""
        err.print(f"Not found, so not learned: {shown}{more}.", style="yellow", markup=False)
