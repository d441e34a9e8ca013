import csv
from pathlib import Path

import pytest

from models.evaluation import EvaluationError, evaluate, evaluate_csv
from models.tagger import Tagger
from models.tags import SENTIMENTS

TEXTS = [
    "Shares plunge after profit warning",
    "Stock soars as earnings beat estimates",
    "Company to hold annual meeting on Monday",
    "Retailer's shares tumble on weak sales",
]


def test_figures_by_hand(tagger: Tagger) -> None:
    labels = ["negative", "positive", "neutral", "positive"]  # the last one is not
    evaluation = evaluate(TEXTS, labels, "sentiment", tagger)
    assert (evaluation.n, evaluation.failed, evaluation.accuracy) == (4, 0, 0.75)
    assert evaluation.confusion == ((1, 0, 0), (0, 1, 0), (1, 0, 1))
    negative, positive = evaluation.per_class["negative"], evaluation.per_class["positive"]
    assert (negative.precision, negative.recall, negative.support) == (0.5, 1.0, 1)
    assert (positive.precision, positive.recall, positive.support) == (1.0, 0.5, 2)
    assert evaluation.macro_f1 == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert 0 <= evaluation.ece <= 1
    assert evaluation.model == tagger.identity


def test_macro_f1_is_over_labels_that_occur(tagger: Tagger) -> None:
    evaluation = evaluate(TEXTS[:2], ["negative", "positive"], "sentiment", tagger)
    assert evaluation.macro_f1 == 1.0


def test_a_csv_file_is_evaluated_and_predictions_are_written(
    tagger: Tagger, tmp_path: Path
) -> None:
    path = written(tmp_path, [("headline", "y"), (TEXTS[0], "0"), (TEXTS[1] + ', "x"', "1")])
    out = tmp_path / "predictions.csv"
    evaluation = evaluate_csv(
        path,
        "sentiment",
        tagger,
        text_column="headline",
        label_column="y",
        label_map={"0": "negative", "1": "positive"},
        predictions_path=out,
    )
    assert (evaluation.n, evaluation.accuracy) == (2, 1.0)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["text"], r["label"], r["predicted"]) for r in rows] == [
        (TEXTS[0], "negative", "negative"),
        (TEXTS[1] + ', "x"', "positive", "positive"),
    ]
    assert sum(float(rows[0][label]) for label in SENTIMENTS) == pytest.approx(1, abs=1e-5)


def test_the_row_and_value_of_an_unknown_label_are_named(tagger: Tagger, tmp_path: Path) -> None:
    path = written(tmp_path, [("text", "label"), (TEXTS[0], "negative"), (TEXTS[1], "bullish")])
    with pytest.raises(EvaluationError, match=r"Row 2 .*'bullish'.*negative, neutral, positive"):
        evaluate_csv(path, "sentiment", tagger)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("text", "y"), ("a", "neutral")], "no column 'label'"),
        ([("a", "label"), ("a", "neutral")], "no column 'text'"),
        ([("text", "label")], "no labelled text"),
        ([("text", "label"), ("only text",)], "Row 1 .* too short"),
        ([], "no column"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tagger: Tagger, tmp_path: Path, rows: list[tuple[str, ...]], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate_csv(written(tmp_path, rows), "sentiment", tagger)


def test_an_unreadable_file_is_refused(tagger: Tagger, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="cannot be read"):
        evaluate_csv(tmp_path / "missing.csv", "sentiment", tagger)
    (tmp_path / "latin.csv").write_bytes(b"text,label\ncaf\xe9,neutral\n")
    with pytest.raises(EvaluationError, match="cannot be read"):
        evaluate_csv(tmp_path / "latin.csv", "sentiment", tagger)


def test_an_unknown_head_is_refused(tagger: Tagger, tmp_path: Path) -> None:
    path = written(tmp_path, [("text", "label"), ("a", "b")])
    with pytest.raises(EvaluationError, match="'mood'"):
        evaluate_csv(path, "mood", tagger)
    with pytest.raises(EvaluationError, match="'mood'"):
        evaluate(["a"], ["b"], "mood", tagger)


def written(folder: Path, rows: list[tuple[str, ...]]) -> Path:
    path = folder / "labelled.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path
