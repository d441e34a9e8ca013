"""`foreshock train`: the recipe that made the shipped model."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from models.errors import ModelError
from pipelines.command.console import out


def command(
    data: Annotated[Path, typer.Option("--data", help="Folder that holds the data sets.")],
    output: Annotated[Path, typer.Option("--out", help="Folder to write the artifact to.")],
    recipe: Annotated[
        Literal["open", "research"],
        typer.Option("--recipe", help="open: MIT-licensed texts alone. research: all sets."),
    ] = "open",
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Passes over the data.")
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="A smaller setting, for a first try on a CPU.")
    ] = False,
) -> None:
    """Train a model and write it as an artifact; a run that was stopped goes on."""
    if importlib.util.find_spec("torch") is None:
        raise ModelError("Training needs PyTorch. Install it with: pip install 'foreshock[train]'")
    # PyTorch is an extra: a command line without it must still start.
    from models.training.recipe import SMALL_PLAN, Plan, train

    plan = SMALL_PLAN if small else Plan()
    if epochs is not None:
        plan = replace(plan, fit=replace(plan.fit, epochs=epochs))
    train(recipe, data, output, plan)
    out.print(f"Wrote {output}. Measure it with: foreshock evaluate FILE --model {output}")
