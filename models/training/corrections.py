"""Labels that analysts corrected, as examples to train on."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.tags import HEADS
from models.training.corpora import Example, TrainingDataError

WEIGHT = 3.0
"""A correction counts like so many examples: it was looked at twice, and there are few."""

SOURCE = "corrections"


@dataclass(frozen=True)
class Correction:
    """What a head should have said of a message."""

    message_id: str
    label: str
    head: str


def read_corrections(path: Path) -> list[Correction]:
    """Reads a CSV with the columns `message_id` and `label`, and `head` ("sentiment" if missing).

    The last row about a message and a head counts. Raises `TrainingDataError` naming the row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = {(c.message_id, c.head): c for c in _rows(file, path)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingDataError(f"{path} cannot be read as CSV in UTF-8: {error}.") from error
    return list(found.values())


def joined(
    corrections: Sequence[Correction], texts: Mapping[str, str]
) -> tuple[list[Example], list[str]]:
    """The examples to train on, and the ids that `texts` does not know."""
    examples, unknown = [], []
    for correction in corrections:
        text = texts.get(correction.message_id)
        if text is None:
            unknown.append(correction.message_id)
            continue
        index = HEADS[correction.head].index(correction.label)
        labels = {correction.head: index}
        examples.append(Example(text, SOURCE, weight=WEIGHT, **labels))
    return examples, unknown


def _rows(file: Iterator[str], path: Path) -> Iterator[Correction]:
    reader = csv.DictReader(file)
    absent = {"message_id", "label"} - set(reader.fieldnames or ())
    if absent:
        raise TrainingDataError(f"{path} has no column {', '.join(sorted(absent))}.")
    for number, row in enumerate(reader, start=1):
        head = row.get("head") or "sentiment"
        if head not in HEADS:
            raise TrainingDataError(
                f"Row {number} of {path}: head {head!r} is not one of {', '.join(HEADS)}."
            )
        if not row["message_id"] or row["label"] not in HEADS[head]:
            raise TrainingDataError(
                f"Row {number} of {path}: message {row['message_id']!r} has the label "
                f"{row['label']!r}, not one of {', '.join(HEADS[head])}."
            )
        yield Correction(row["message_id"], row["label"], head)
