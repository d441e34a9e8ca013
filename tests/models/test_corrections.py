from pathlib import Path

import pytest

pytest.importorskip("datasketch", reason="training needs the extra 'train'")

from models.tags import SENTIMENTS, TOPICS
from models.training.corpora import UNLABELLED, TrainingDataError
from models.training.corrections import WEIGHT, Correction, joined, read_corrections


def test_corrections_are_read_with_and_without_a_head(tmp_path: Path) -> None:
    assert read_corrections(_file(tmp_path, "message_id,label\nx:1,positive\n")) == [
        Correction("x:1", "positive", "sentiment")
    ]
    text = "message_id,label,head\nx:1,positive,\nx:1,Earnings,topic\nx:2,neutral,sentiment\n"
    assert read_corrections(_file(tmp_path, text)) == [
        Correction("x:1", "positive", "sentiment"),
        Correction("x:1", "Earnings", "topic"),
        Correction("x:2", "neutral", "sentiment"),
    ]


def test_the_last_word_about_a_message_counts(tmp_path: Path) -> None:
    text = "message_id,label\nx:1,positive\nx:1,negative\n"
    assert [c.label for c in read_corrections(_file(tmp_path, text))] == ["negative"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\nx,positive\n", "no column message_id"),
        ("message_id,label\nx,great\n", r"Row 1 .* 'great', not one of negative, neutral"),
        ("message_id,label,head\nx,positive,mood\n", "head 'mood' is not one of"),
        ("message_id,label\nx\n", "has the label None"),
        ("message_id,label\n,positive\n", "message ''"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingDataError, match=message):
        read_corrections(_file(tmp_path, text))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"none\.csv cannot be read"):
        read_corrections(tmp_path / "none.csv")


def test_corrections_find_their_texts_and_tell_what_is_missing() -> None:
    corrections = [
        Correction("x:1", "positive", "sentiment"),
        Correction("x:2", "Earnings", "topic"),
        Correction("x:3", "neutral", "sentiment"),
    ]
    examples, unknown = joined(corrections, {"x:1": "Oil rises", "x:2": "Results are in"})
    assert unknown == ["x:3"]
    assert [(e.text, e.sentiment, e.topic, e.weight) for e in examples] == [
        ("Oil rises", SENTIMENTS.index("positive"), UNLABELLED, WEIGHT),
        ("Results are in", UNLABELLED, TOPICS.index("Earnings"), WEIGHT),
    ]


def _file(folder: Path, text: str) -> Path:
    path = folder / "corrections.csv"
    path.write_text(text, encoding="utf-8")
    return path
