"""`foreshock evaluate`: the quality of a head on labelled texts."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.table import Table

from models.artifact import DEFAULT_ARTIFACT
from models.evaluation import Evaluation, evaluate_csv
from models.tagger import load_tagger
from pipelines.command.console import out, print_json
from pipelines.command.options import Json, Model


def command(
    data: Annotated[Path, typer.Argument(help="CSV of labelled texts.")],
    head: Annotated[Literal["sentiment", "topic"], typer.Option("--head", help="Which head.")],
    text_column: Annotated[
        str, typer.Option("--text-column", help="Column of the texts.")
    ] = "text",
    label_column: Annotated[
        str, typer.Option("--label-column", help="Column of the labels.")
    ] = "label",
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="What the file's labels mean, as FILE=HEAD pairs: 0=negative,1=positive.",
        ),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Write every prediction to this CSV.")
    ] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Measure a head of the model on labelled texts."""
    result = evaluate_csv(
        data,
        head,
        load_tagger(model or DEFAULT_ARTIFACT),
        text_column=text_column,
        label_column=label_column,
        label_map=_pairs(labels),
        predictions_path=predictions,
    )
    if json:
        print_json(msgspec.to_builtins(result))
    else:
        _show(result)


def _pairs(labels: str | None) -> dict[str, str] | None:
    if labels is None:
        return None
    pairs = [pair.partition("=") for pair in labels.split(",")]
    for name, equals, label in pairs:
        if not (name and equals and label):
            raise typer.BadParameter(
                f"'{name}{equals}{label}' is no FILE=HEAD pair", param_hint="--labels"
            )
    return {name.strip(): label.strip() for name, _, label in pairs}


def _show(result: Evaluation) -> None:
    out.print(
        f"{result.n:,} texts: accuracy {result.accuracy:.4f}, macro-F1 {result.macro_f1:.4f}, "
        f"expected calibration error {result.ece:.4f}"
    )
    table = Table("label", "precision", "recall", "F1", "texts")
    for label, figures in result.per_class.items():
        table.add_row(
            label,
            f"{figures.precision:.3f}",
            f"{figures.recall:.3f}",
            f"{figures.f1:.3f}",
            f"{figures.support:,}",
        )
    out.print(table)
    out.print(f"Model {result.model.name} {result.model.version}, {result.model.numeric_path}")
