"""Writes the page. Its frame, its colours and its care for hostile text are those of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from models.drift import Drift
from models.evaluation import Difference, Evaluation, Figures, Interval, WorstError
from models.evaluation.slicing import SLICES
from pipelines.evaluation_page import charts
from pipelines.manifest import VERSION
from pipelines.report import document, inert, wording
from pipelines.report.content import Chart, Table

Words = Sequence[tuple[int, int, float]]
"""(start, end, weight) of the words of a text that spoke for what the model predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorView:
    """A text that the model was sure of, and wrong."""

    row: str
    label: str
    predicted: str
    confidence: str
    pieces: Sequence[inert.Piece]
    left_out: int


def write_evaluation(
    path: Path, evaluation: Evaluation, *, words: Sequence[Words], source: str
) -> None:
    """Writes the page to `path`, whole or not at all; raises OSError where it cannot be written.

    `words`: for each of `evaluation.worst`, the words that moved the model. `source`: the name of
    what was evaluated.
    """
    document.write(path, render(evaluation, words, source))


def render(evaluation: Evaluation, words: Sequence[Words], source: str) -> str:
    """The page as HTML."""
    matrix, curve = _confusion(evaluation), _calibration(evaluation)
    slices = _slices(evaluation)
    template = files(__package__).joinpath("template.html").read_text(encoding="utf-8")
    shown = [chart for chart in (matrix, curve, slices) if chart]
    return document.document(
        template,
        {chart.id: chart.figure for chart in shown},
        evaluation=evaluation,
        headline=f"{evaluation.head.capitalize()}: {_percent(evaluation.accuracy)} right",
        source=inert.visible(source),
        totals=_totals(evaluation),
        confusion=matrix,
        calibration=curve,
        slices=slices,
        classes=_classes(evaluation),
        shares=_shares(evaluation),
        drift=_drift(evaluation.drift),
        comparison=_comparison(evaluation),
        rival=_model(evaluation.comparison.other) if evaluation.comparison else "",
        verdict=_verdict(evaluation),
        errors=[_error(e, w) for e, w in zip(evaluation.worst, words, strict=True)],
        identity=_identity(evaluation),
    )


def _totals(evaluation: Evaluation) -> list[tuple[str, str]]:
    totals = [
        ("Texts", f"{evaluation.n:,}"),
        ("Accuracy (95 %)", _with_ends(evaluation.accuracy, evaluation.accuracy_interval)),
        ("Macro-F1 (95 %)", _with_ends(evaluation.macro_f1, evaluation.macro_f1_interval)),
        ("Calibration error", f"{evaluation.ece:.3f}"),
    ]
    if evaluation.head == "sentiment":
        totals.append(("Model unsure", wording.percent(evaluation.abstained / evaluation.n)))
    if evaluation.failed:
        totals.append(("Could not be tagged", f"{evaluation.failed:,}"))
    return totals


def _confusion(evaluation: Evaluation) -> Chart:
    labels, counts = evaluation.labels, evaluation.confusion
    return Chart(
        id="confusion",
        figure=charts.confusion(labels, counts),
        description="Confusion matrix: how many texts of each label were given each label.",
        table=Table(
            columns=["Truth, then predicted as", *labels],
            rows=[
                [label, *(f"{count:,}" for count in row)]
                for label, row in zip(labels, counts, strict=True)
            ],
        ),
    )


def _calibration(evaluation: Evaluation) -> Chart:
    return Chart(
        id="calibration",
        figure=charts.calibration(evaluation.calibration),
        description="Share of right answers against the model's confidence, in fifteen bins.",
        table=Table(
            columns=["Confidence", "texts", "mean confidence", "right"],
            rows=[
                [
                    f"{100 * b.low:.0f} – {100 * b.high:.0f} %",
                    f"{b.count:,}",
                    _percent(b.confidence),
                    _percent(b.accuracy),
                ]
                for b in evaluation.calibration
            ],
        ),
    )


def _slices(evaluation: Evaluation) -> Chart | None:
    if not evaluation.slices:
        return None
    rows = {_slice_name(name): figures for name, figures in evaluation.slices.items()}
    return Chart(
        id="slices",
        figure=charts.intervals(rows, evaluation.accuracy),
        description="Accuracy with its 95 % interval for each kind of text.",
        table=Table(
            columns=["Kind of text", "texts", "accuracy", "macro-F1", "calibration error"],
            rows=[[inert.visible(name), *_figures(figures)] for name, figures in rows.items()],
        ),
    )


def _slice_name(name: str) -> str:
    return f"{name} ({SLICES[name]})" if name in ("short", "long", "cashtag list") else name


def _figures(figures: Figures) -> list[str]:
    return [
        f"{figures.n:,}",
        _with_ends(figures.accuracy, figures.accuracy_interval),
        _with_ends(figures.macro_f1, figures.macro_f1_interval),
        f"{figures.ece:.3f}",
    ]


def _classes(evaluation: Evaluation) -> Table:
    return Table(
        columns=["Label", "precision", "recall", "F1", "texts"],
        rows=[
            [label, f"{f.precision:.3f}", f"{f.recall:.3f}", f"{f.f1:.3f}", f"{f.support:,}"]
            for label, f in evaluation.per_class.items()
        ],
    )


def _shares(evaluation: Evaluation) -> Table:
    estimated = evaluation.estimated_shares or {}
    return Table(
        columns=["Label", "in truth", "as predicted", "sum of probabilities", "estimated"],
        rows=[
            [
                label,
                _percent(evaluation.per_class[label].support / evaluation.n),
                _percent(evaluation.predicted_shares[label]),
                _percent(evaluation.soft_shares[label]),
                _percent(estimated.get(label)),
            ]
            for label in evaluation.labels
        ],
    )


def _drift(drift: Drift | None) -> str:
    if drift is None:
        return "This model does not say what it was trained on, so nothing is compared with it."
    verdict = "is another one than" if drift.labels_moved else "is like"
    return (
        f"The mix of predictions {verdict} that of the training data: population stability index "
        f"{drift.psi:.2f}, where 0.25 and more is a large movement."
    )


def _comparison(evaluation: Evaluation) -> Table | None:
    comparison = evaluation.comparison
    if comparison is None:
        return None
    other = comparison.other
    accuracies = [f"{evaluation.accuracy:.3f}", f"{other.accuracy:.3f}"]
    scores = [f"{evaluation.macro_f1:.3f}", f"{other.macro_f1:.3f}"]
    return Table(
        columns=["Figure", "this model", "the other", "difference (95 %)", "p"],
        rows=[
            ["Accuracy", *accuracies, *_difference(comparison.accuracy)],
            ["Macro-F1", *scores, *_difference(comparison.macro_f1)],
            ["Calibration error", f"{evaluation.ece:.3f}", f"{other.ece:.3f}", "", ""],
            *(
                [f"F1 of {label}", f"{figures.f1:.3f}", f"{other.per_class[label].f1:.3f}", "", ""]
                for label, figures in evaluation.per_class.items()
            ),
        ],
    )


def _verdict(evaluation: Evaluation) -> str:
    comparison = evaluation.comparison
    if comparison is None:
        return ""
    return (
        f"Of the texts on which one alone was right, {comparison.only_model_right:,} are this "
        f"model’s and {comparison.only_other_right:,} the other’s (McNemar’s exact test: p "
        f"{comparison.mcnemar_p:.2g})."
    )


def _difference(difference: Difference) -> list[str]:
    low, high = difference.interval
    return [f"{difference.value:+.3f} ({low:+.3f} to {high:+.3f})", f"{difference.p:.2g}"]


def _error(error: WorstError, words: Words) -> ErrorView:
    return ErrorView(
        row=f"{error.row:,}",
        label=error.label,
        predicted=error.predicted,
        confidence=_percent(error.confidence),
        pieces=inert.pieces(error.text, words),
        left_out=max(0, len(error.text) - inert.MAX_CHARACTERS),
    )


def _identity(evaluation: Evaluation) -> list[tuple[str, str]]:
    identity = [
        ("Model", _model(evaluation)),
        ("SHA-256", evaluation.model.checksum),
        ("Computed on", evaluation.model.numeric_path),
    ]
    if evaluation.comparison:
        identity.append(("Compared with", _model(evaluation.comparison.other)))
    return [*identity, ("Foreshock", VERSION)]


def _model(evaluation: Evaluation) -> str:
    return f"{evaluation.model.name} {evaluation.model.version}"


def _with_ends(value: float, interval: Interval) -> str:
    return f"{value:.3f} ({interval[0]:.3f} – {interval[1]:.3f})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
