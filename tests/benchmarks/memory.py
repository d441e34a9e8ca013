"""The peak memory of a replay of many messages: `python -m tests.benchmarks.memory [COUNT]`.

The history is the bundled sample told again and again, in other words each time. With
`--same-words` the cache answers for the model: a third of the time, and up to 50,000 remembered
texts less.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.history import write_history

LIMIT_GIB = 2.0


def main(count: int, *, same_words: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, store = Path(folder, "history.jsonl"), Path(folder, "store.db")
        write_history(source, count, same_words=same_words)
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


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--same-words"]
    main(
        int(arguments[0]) if arguments else 1_000_000,
        same_words=len(arguments) < len(sys.argv) - 1,
    )
