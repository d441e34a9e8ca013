"""How fast the live job is, against the bare tagger on the same texts, and how late its rows are.

    python -m tests.benchmarks.live --messages 8000 --seconds 150

First the sample lies in the topic and is read as fast as it goes; then messages of now come at half
of that rate, and each row tells how long after its record it was written. Of minutes, the time is
taken from the record that moves the watermark past their end until their provisional row is in the
store.
"""

import argparse
import statistics
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from connectors.message import Message
from models.tagger import Tagger
from pipelines.configuration import Configuration, TagSettings
from pipelines.records import content
from tests.benchmarks.live_job import NOW, Job, live_job
from tests.faults.stream import of_the_sample

_MINUTE = timedelta(minutes=1)
_SETTLED = timedelta(seconds=10)
"""Rows are looked at from then on: between two loads the job has nothing ready."""

_REST_SECONDS = 3.0


def bare(messages: Sequence[Message]) -> float:
    """Texts a second of the tagger alone, in the job's batches."""
    tagger = Tagger(cache_size=TagSettings().cache)
    tagger.warm_up()
    texts = [content(one) for one in messages]
    started = time.monotonic()
    for first in range(0, len(texts), 500):
        tagger.tag(texts[first : first + 500])
    return len(texts) / (time.monotonic() - started)


def minutes_told(job: Job, sending: Iterable[int]) -> list[float]:
    """How long minutes took to be told while messages of now were being sent."""
    disorder = Configuration().lateness.disorder
    closing = datetime.now(UTC).replace(second=0, microsecond=0) + _MINUTE
    passed: dict[datetime, float] = {}
    told = []
    for _ in sending:
        if datetime.now(UTC) >= closing + disorder:
            passed[closing - _MINUTE] = time.monotonic()
            closing += _MINUTE
        for minute in list(passed):
            query = f"SELECT 1 FROM window_stats WHERE start = '{minute}' AND key = 'overall'"
            if job.ask(f"{query} AND seconds = 60"):
                told.append(time.monotonic() - passed.pop(minute))
    return told


def delays(job: Job) -> list[float]:
    """Seconds from a record of now to its row, in order."""
    rows = job.ask(
        "SELECT extract(epoch FROM t.processed_at - m.received_at)::float FROM tags t "
        f"JOIN messages m ON m.id = t.message_id WHERE m.source = '{NOW}' AND m.published_at > "
        f"(SELECT min(published_at) + interval '{_SETTLED.seconds} seconds' FROM messages "
        f"WHERE source = '{NOW}') ORDER BY 1"
    )
    return [row[0] for row in rows]  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.live")
    parser.add_argument("--messages", type=int, default=8_000)
    parser.add_argument("--seconds", type=float, default=150)
    given = parser.parse_args()
    messages = of_the_sample(given.messages)
    before = bare(messages)
    with live_job() as job:
        job.send(messages)
        job.wait_for(len(messages))
        reached = job.rate()
        job.wait_until_quiet()
        after = bare(messages)
        alone = statistics.mean((before, after))
        print(f"bare tagger {before:,.0f} and {after:,.0f} messages a second")
        print(f"live job    {reached:,.0f} messages a second: {reached / alone:.2f} of it")
        told = minutes_told(job, job.send_now(messages, reached / 2, given.seconds))
        time.sleep(_REST_SECONDS)
        found = delays(job)
        p50, p99 = (found[int(len(found) * part)] for part in (0.5, 0.99))
        print(f"from record to row at {reached / 2:,.0f}/s: p50 {p50:.2f} s, p99 {p99:.2f} s")
        print(f"from a minute's end to its row: {', '.join(f'{one:.2f} s' for one in told)}")


if __name__ == "__main__":
    main()
