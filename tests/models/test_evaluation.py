import csv
import json
import shutil
from pathlib import Path

import pytest

from models.artifact import CONFIG, DEFAULT_ARTIFACT
from models.evaluation import (
    EvaluationError,
    Prediction,
    evaluate,
    evaluate_csv,
    summarise,
)
from models.evaluation.slicing import slices_of
from models.evaluation.summarising import MOST_GROUPS, WORST
from models.tagger import Tagger, TaggingError
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


def test_the_most_confident_errors_are_kept_the_worst_first(tagger: Tagger) -> None:
    results = [
        Prediction(f"text {i}", "neutral", "positive", (0.0, 0.5 - i / 100, 0.5 + i / 100))
        for i in range(WORST + 10)
    ]
    evaluation = summarise([*results, *results[::-1]], "sentiment", tagger)
    assert len(evaluation.worst) == WORST
    assert evaluation.worst[0].row == WORST + 10
    assert (evaluation.worst[0].text, evaluation.worst[0].predicted) == ("text 29", "positive")
    confidences = [error.confidence for error in evaluation.worst]
    assert confidences == sorted(confidences, reverse=True)


def test_what_could_not_be_tagged_is_counted_apart(tagger: Tagger) -> None:
    sure = Prediction("x", "neutral", "neutral", (0.05, 0.9, 0.05), abstained=True)
    evaluation = summarise([None, sure, None], "sentiment", tagger)
    assert (evaluation.n, evaluation.failed, evaluation.abstained) == (1, 2, 1)


def test_shares_are_counted_added_up_and_estimated(tagger: Tagger) -> None:
    results = [
        Prediction("x", "neutral", "neutral", (0.2, 0.6, 0.2)),
        Prediction("x", "negative", "negative", (0.8, 0.1, 0.1)),
    ]
    evaluation = summarise(results, "sentiment", tagger)
    assert evaluation.predicted_shares == {"negative": 0.5, "neutral": 0.5, "positive": 0}
    assert evaluation.soft_shares == pytest.approx(
        {"negative": 0.5, "neutral": 0.35, "positive": 0.15}
    )
    assert evaluation.estimated_shares is not None
    assert sum(evaluation.estimated_shares.values()) == pytest.approx(1)
    assert evaluation.drift is not None
    assert evaluation.drift.shares == evaluation.predicted_shares
    assert not evaluation.drift.moved


def test_calibration_has_fifteen_bins(tagger: Tagger) -> None:
    evaluation = evaluate(TEXTS, ["negative"] * 4, "sentiment", tagger)
    assert len(evaluation.calibration) == 15
    assert sum(b.count for b in evaluation.calibration) == 4
    gaps = [
        b.count * abs(b.confidence - b.accuracy)
        for b in evaluation.calibration
        if b.confidence is not None and b.accuracy is not None
    ]
    assert evaluation.ece == pytest.approx(sum(gaps) / 4)


@pytest.mark.parametrize(
    ("text", "slices"),
    [
        ("", {"short", "without numbers"}),
        ("Shares up 5% today https://t.co/a1", {"short", "with numbers"}),
        ("RT @a: one two three four five six", {"without numbers"}),
        ("word " * 41, {"long", "without numbers"}),
        ("Watch $AAPL $MSFT $IBM $GE today now", {"cashtag list", "without numbers"}),
        ("We had $5, $6 and $7, then $8 in all", {"with numbers"}),
    ],
)
def test_texts_are_sliced_by_what_the_model_reads(text: str, slices: set[str]) -> None:
    assert set(slices_of(text)) == slices


def test_a_column_gives_slices(tagger: Tagger, tmp_path: Path) -> None:
    rows = [("text", "label", "source"), (TEXTS[0], "negative", "b"), (TEXTS[1], "negative", "a")]
    path = written(tmp_path, [*rows, (TEXTS[3], "negative", "b")])
    slices = evaluate_csv(path, "sentiment", tagger, slice_column="source").slices
    assert list(slices) == ["short", "without numbers", "source: a", "source: b"]
    assert (slices["source: b"].n, slices["source: b"].accuracy) == (2, 1.0)
    assert (slices["source: a"].n, slices["source: a"].accuracy) == (1, 0.0)
    with pytest.raises(EvaluationError, match="no column 'origin'"):
        evaluate_csv(path, "sentiment", tagger, slice_column="origin")


def test_a_column_of_too_many_values_is_refused(tagger: Tagger) -> None:
    results = (
        Prediction("x", "neutral", "neutral", (0.1, 0.8, 0.1), group=f"id: {i}")
        for i in range(MOST_GROUPS + 1)
    )
    with pytest.raises(EvaluationError, match="choose a column with fewer"):
        summarise(results, "sentiment", tagger)


def test_two_models_are_compared_on_the_same_texts(tagger: Tagger, tmp_path: Path) -> None:
    labels = ["negative", "positive", "neutral", "negative"]
    rows = list(zip(TEXTS * 10, labels * 10, strict=True))
    path = written(tmp_path, [("text", "label"), *rows])
    swapped = Tagger(with_swapped_labels(tmp_path / "swapped"))
    evaluation = evaluate_csv(path, "sentiment", tagger, other=swapped)
    comparison = evaluation.comparison
    assert comparison is not None
    assert (evaluation.accuracy, comparison.other.accuracy) == (1.0, 0.25)
    assert comparison.accuracy.value == 0.75
    assert 0.5 < comparison.accuracy.interval[0] <= 0.75 <= comparison.accuracy.interval[1]
    assert comparison.macro_f1.value == pytest.approx(1 - comparison.other.macro_f1)
    assert (comparison.only_model_right, comparison.only_other_right) == (30, 0)
    assert comparison.mcnemar_p == pytest.approx(2 * 0.5**30)
    assert comparison.accuracy.p < 0.01
    assert comparison.other.model == swapped.identity
    assert comparison.other.estimated_shares is None
    assert comparison.other.drift is None

    itself = evaluate_csv(path, "sentiment", tagger, other=tagger).comparison
    assert itself is not None
    assert itself.accuracy.value == itself.macro_f1.value == 0
    assert itself.accuracy.p == itself.macro_f1.p == itself.mcnemar_p == 1


def test_a_text_that_one_of_two_models_cannot_tag_counts_for_neither(
    tagger: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Tagger(DEFAULT_ARTIFACT)
    answers = [TaggingError("no"), *other.tag(TEXTS[1:])]
    monkeypatch.setattr(other, "tag", lambda texts: answers)
    path = written(tmp_path, [("text", "label"), *((text, "negative") for text in TEXTS)])
    evaluation = evaluate_csv(path, "sentiment", tagger, other=other)
    assert (evaluation.n, evaluation.failed) == (3, 1)
    assert evaluation.comparison is not None
    assert (evaluation.comparison.other.n, evaluation.comparison.other.failed) == (3, 1)


def with_swapped_labels(folder: Path) -> Path:
    """The shipped model, which takes good for bad and does not know its training data."""
    shutil.copytree(DEFAULT_ARTIFACT, folder)
    config = json.loads((folder / CONFIG).read_text())
    names = config["id2label"]["sentiment"]
    names["0"], names["2"] = names["2"], names["0"]
    config["label_shares"] = {}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


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
