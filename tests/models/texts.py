"""Real texts of the slice that the training tests use."""

import csv
from pathlib import Path

SLICE = Path(__file__).parents[1] / "data" / "training"


def training_texts() -> list[str]:
    """The tweets of both sets, each once, in their order."""
    found = []
    for path in sorted(SLICE.glob("twitter_*/*_train.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found += [next(iter(row.values())) for row in csv.DictReader(file)]
    return list(dict.fromkeys(found))
