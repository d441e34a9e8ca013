"""`foreshock evaluate`: the quality of a head on labelled texts, alone or against another model."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.table import Table

from models.drift import Drift, metrics
from models.evaluation import (
    Comparison,
    Difference,
    Evaluation,
    EvaluationError,
    Figures,
    Interval,
    evaluate_csv,
)
from models.explanation import explain_all
from models.tagger import Tagger
from pipelines.command.console import inert, out, print_json
from pipelines.command.options import Json, Model
from pipelines.configuration import load_configuration
from pipelines.evaluation_page import write_evaluation


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
    slice_column: Annotated[
        str | None,
        typer.Option("--slice-column", help="Figures for each value of this column too."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", help="Folder of another model, to compare on the same texts."),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Write every prediction to this CSV.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write an HTML page of the figures to this file."),
    ] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Measure a head of the model on labelled texts."""
    settings = load_configuration().tag
    tagger = settings.serving(model).tagger()
    result = evaluate_csv(
        data,
        head,
        tagger,
        text_column=text_column,
        label_column=label_column,
        label_map=_pairs(labels),
        slice_column=slice_column,
        predictions_path=predictions,
        other=settings.serving(compare).tagger() if compare else None,
    )
    if report:
        _write(report, result, tagger, data.name)
    if json:
        drift = {"metrics": metrics(result.drift)} if result.drift else {}
        print_json(msgspec.to_builtins(result) | drift)
    else:
        _show(result)
        if report:
            out.print(f"Report: {report}", markup=False)


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


def _write(path: Path, result: Evaluation, tagger: Tagger, source: str) -> None:
    asked = [(error.text, error.predicted) for error in result.worst]
    words = [
        [(word.start, word.end, word.weight) for word in found]
        for found in explain_all(asked, tagger, result.head)
    ]
    try:
        write_evaluation(path, result, words=words, source=source)
    except OSError as error:
        raise EvaluationError(f"The report {path} cannot be written: {error.strerror}.") from error


def _show(result: Evaluation) -> None:
    out.print(
        f"{result.n:,} texts: accuracy {result.accuracy:.4f} ({_ends(result.accuracy_interval)}), "
        f"macro-F1 {result.macro_f1:.4f} ({_ends(result.macro_f1_interval)}), "
        f"expected calibration error {result.ece:.4f}"
    )
    if result.failed:
        out.print(f"{result.failed:,} texts could not be tagged and count in no figure")
    out.print(_classes(result))
    out.print(_slices(result.slices))
    out.print(_shares(result))
    if result.drift:
        out.print(_drift(result.drift))
    if result.comparison:
        _show_comparison(result.comparison)
    out.print(f"Model {result.model.name} {result.model.version}, {result.model.numeric_path}")


def _classes(result: Evaluation) -> Table:
    table = Table("label", "precision", "recall", "F1", "texts")
    for label, figures in result.per_class.items():
        table.add_row(
            label,
            f"{figures.precision:.3f}",
            f"{figures.recall:.3f}",
            f"{figures.f1:.3f}",
            f"{figures.support:,}",
        )
    return table


def _shares(result: Evaluation) -> Table:
    table = Table("share of", "in truth", "predicted", "probability", "estimated")
    for label, figures in result.per_class.items():
        estimated = (result.estimated_shares or {}).get(label)
        table.add_row(
            label,
            f"{figures.support / result.n:.3f}",
            f"{result.predicted_shares[label]:.3f}",
            f"{result.soft_shares[label]:.3f}",
            "" if estimated is None else f"{estimated:.3f}",
        )
    return table


def _slices(slices: dict[str, Figures]) -> Table:
    table = Table("slice", "texts", "accuracy", "95 %", "macro-F1", "ECE")
    for name, figures in slices.items():
        table.add_row(
            inert(name).replace("[", r"\["),
            f"{figures.n:,}",
            f"{figures.accuracy:.3f}",
            _ends(figures.accuracy_interval),
            f"{figures.macro_f1:.3f}",
            f"{figures.ece:.3f}",
        )
    return table


def _drift(drift: Drift) -> str:
    verdict = "differs from" if drift.moved else "is like"
    return (
        f"The mix of predictions {verdict} that of the training data "
        f"(population stability index {drift.psi:.2f}, p {drift.p:.2g})"
    )


def _show_comparison(comparison: Comparison) -> None:
    other = comparison.other
    out.print(
        f"Against {other.model.name} {other.model.version} (accuracy {other.accuracy:.4f}, "
        f"macro-F1 {other.macro_f1:.4f}) on the same texts:"
    )
    out.print(f"  accuracy {_difference(comparison.accuracy)}")
    out.print(f"  macro-F1 {_difference(comparison.macro_f1)}")
    out.print(
        f"  only this one right {comparison.only_model_right:,}, only the other "
        f"{comparison.only_other_right:,}: McNemar's exact p {comparison.mcnemar_p:.2g}"
    )


def _difference(difference: Difference) -> str:
    low, high = difference.interval
    return f"{difference.value:+.4f} ({low:+.4f} to {high:+.4f}), p {difference.p:.2g}"


def _ends(interval: Interval) -> str:
    return f"{interval[0]:.3f}-{interval[1]:.3f}"
