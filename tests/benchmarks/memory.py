"""The peak memory of a replay of many messages: `python -m tests.benchmarks.memory [COUNT]`.

The history is the bundled sample told again and again, each time with other ids, other words and a
later time, so that neither the cache nor the deduplication makes it small. With `--same-words` the
cache answers for the model: a third of the time, and up to 50,000 remembered texts less.
"""

import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.sample import SAMPLE

LIMIT_GIB = 2.0


def main(count: int, *, same_words: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, store = Path(folder, "history.jsonl"), Path(folder, "store.db")
        _write(source, count, same_words)
        started = time.perf_counter()
        command = [sys.executable, "-m", "pipelines", "replay", str(source)]
        subprocess.run([*command, "--database", f"sqlite:///{store}"], check=True)
        seconds = time.perf_counter() - started
        size = store.stat().st_size / 2**20
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"{count:,} messages in {seconds:,.0f} s ({count / seconds:,.0f}/s), store {size:,.0f} MiB"
    )
    print(f"peak memory {peak:.2f} GiB, limit {LIMIT_GIB:.0f} GiB")
    sys.exit(peak >= LIMIT_GIB)


def _write(path: Path, count: int, same_words: bool) -> None:
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    first, last = (datetime.fromisoformat(rows[i]["created_at"]) for i in (0, -1))
    span = (last - first) + timedelta(minutes=1)
    with path.open("w", encoding="utf-8") as out:
        for number in range(count):
            turn, row = divmod(number, len(rows))
            told = rows[row]
            when = datetime.fromisoformat(told["created_at"]) + turn * span
            text = told["text"] if same_words else f"{told['text']} {number:x}"
            new = {**told, "id": str(number), "created_at": when.isoformat(), "text": text}
            out.write(json.dumps(new) + "\n")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--same-words"]
    main(
        int(arguments[0]) if arguments else 1_000_000,
        same_words=len(arguments) < len(sys.argv) - 1,
    )
