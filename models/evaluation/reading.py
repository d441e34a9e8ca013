"""Labelled texts from a CSV file, row by row."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from models.errors import ModelError
from models.tags import HEADS


class EvaluationError(ModelError):
    """The labelled texts cannot be read or their labels are not the head's."""


class LabelledText(NamedTuple):
    """`group` names the slice that the text belongs to besides those by its words."""

    text: str
    label: str
    group: str | None = None


def labels_of(head: str) -> tuple[str, ...]:
    """The names of a head's labels; raises `EvaluationError` for no head."""
    if head not in HEADS:
        raise EvaluationError(f"Head {head!r} is unknown: choose one of {', '.join(HEADS)}.")
    return HEADS[head]


def unknown_label(value: str, head: str) -> str:
    """What is wrong with a label that the head does not have."""
    names = ", ".join(HEADS[head])
    return f"label {value!r} is not one of head {head!r} ({names}): map it to one of these."


def read_csv(
    path: Path,
    head: str,
    text_column: str,
    label_column: str,
    label_map: Mapping[str, str],
    slice_column: str | None,
) -> Iterator[LabelledText]:
    """The rows of a CSV file (UTF-8, with a header line); raises `EvaluationError`.

    `label_map` translates the file's labels into the head's names; the values of `slice_column`
    become groups.
    """
    labels = labels_of(head)
    columns = [text_column, label_column, *([slice_column] if slice_column else [])]
    with _opened(path) as reader:
        for column in columns:
            if column not in (reader.fieldnames or ()):
                found = ", ".join(reader.fieldnames or ()) or "none"
                raise EvaluationError(f"{path} has no column {column!r} (it has: {found}).")
        for number, row in enumerate(reader, start=1):
            if any(row[column] is None for column in columns):
                raise EvaluationError(f"Row {number} of {path} is too short: give it all columns.")
            given = row[label_column]
            label = label_map.get(given, given)
            if label not in labels:
                raise EvaluationError(f"Row {number} of {path}: {unknown_label(given, head)}")
            group = f"{slice_column}: {row[slice_column]}" if slice_column else None
            yield LabelledText(row[text_column], label, group)


@contextmanager
def _opened(path: Path) -> Iterator["csv.DictReader[str]"]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.DictReader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} cannot be read as CSV in UTF-8: {error}.") from error
