"""A long history for benchmarks: the bundled sample told again and again, later each time."""

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.sample import SAMPLE


def write_history(path: Path, count: int, *, same_words: bool = False) -> None:
    """Writes `count` messages as JSON Lines, each with an id of its own.

    Each time the words are others, so that neither the cache nor the deduplication makes it small;
    with `same_words` they are those of the sample.
    """
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    first, last = (datetime.fromisoformat(rows[i]["created_at"]) for i in (0, -1))
    span = (last - first) + timedelta(minutes=1)
    with path.open("w", encoding="utf-8") as out:
        for number in range(count):
            turn, row = divmod(number, len(rows))
            told = rows[row]
            when = datetime.fromisoformat(told["created_at"]) + turn * span
            text = told["text"] if same_words or not turn else f"{told['text']} {turn:x}"
            new = {**told, "id": str(number), "created_at": when.isoformat(), "text": text}
            out.write(json.dumps(new) + "\n")
