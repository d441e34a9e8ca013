"""What every benchmark of the tagger needs: real texts, a rate, and the name of the machine."""

import csv
import gzip
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "pipelines" / "sample" / "stocknet_sample.jsonl.gz"


def read_texts(path: Path) -> Iterator[str]:
    """The `text` of each row of JSON Lines or CSV, plain or as .gz, else each line."""
    opened = gzip.open if path.suffix == ".gz" else open
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        if kind == "csv":
            yield from (row["text"] for row in csv.DictReader(file))
        elif kind == "jsonl":
            yield from (json.loads(line)["text"] for line in file)
        else:
            yield from (line.rstrip("\n") for line in file)


def rate(run: Callable[[Sequence[str]], object], texts: Sequence[str], rounds: int = 1) -> float:
    """Texts a second, the best of `rounds`."""
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        run(texts)
        best = max(best, len(texts) / (time.perf_counter() - start))
    return best


def machine() -> str:
    """Processor and cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} cores"
