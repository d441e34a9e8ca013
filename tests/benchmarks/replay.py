"""How much of the bare tagger's rate a whole replay reaches, on the same texts in the same run.

`python -m tests.benchmarks.replay [FILE]`: FILE defaults to the bundled sample told three times, in
other words each time. Model and store are there before the clock starts.
"""

import sys
import tempfile
import time
from pathlib import Path

from connectors.dead_letter import DeadLetter
from connectors.files import read_messages
from connectors.sorting import sorted_messages
from connectors.store import Store
from models.tagger import Tagger
from pipelines.configuration import Configuration
from pipelines.records import content
from pipelines.replay import replay
from pipelines.sources import File
from tests.benchmarks.history import write_history
from tests.benchmarks.texts import machine

_MESSAGES = 50_000


def main(source: Path) -> None:
    stream = (one for one in read_messages(source) if not isinstance(one, DeadLetter))
    with sorted_messages(stream) as ordered:
        texts = [content(message) for message in ordered]
    configuration = Configuration()
    configuration.tag.tagger().tag(["warm"])  # loaded before the clock starts, as the bare one is
    without = _bare(texts, cache_size=0)
    cached = _bare(texts, cache_size=configuration.tag.cache)
    # Before and after: a machine that others use too is not as fast now as it was then.
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{folder}/benchmark.db"
        Store.upgrade(database)
        started = time.perf_counter()
        replay([File(source)], database=database, configuration=configuration)
        whole = time.perf_counter() - started
    cached = (cached + _bare(texts, cache_size=configuration.tag.cache)) / 2
    count = len(texts)
    print(f"{count:,} messages on {machine()}")
    print(f"bare tagger, no cache   {count / without:8,.0f}/s")
    print(f"bare tagger, cache      {count / cached:8,.0f}/s   gain {without / cached:.2f}")
    print(f"whole replay, cache     {count / whole:8,.0f}/s   ratio {cached / whole:.2f}")


def _bare(texts: list[str], cache_size: int) -> float:
    """Seconds for all texts, in their order, in the batches that a replay uses."""
    tagger = Tagger(cache_size=cache_size)
    tagger.warm_up()
    batch = Configuration().tag.batch
    started = time.perf_counter()
    for start in range(0, len(texts), batch):
        tagger.tag(texts[start : start + batch])
    return time.perf_counter() - started


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            told = Path(name, "history.jsonl")
            write_history(told, _MESSAGES)
            main(told)
