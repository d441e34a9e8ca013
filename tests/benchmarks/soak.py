"""Whether the live job holds out: its memory under a steady load, and what a sudden one leaves.

    python -m tests.benchmarks.soak --minutes 30

The rate that the job reaches is measured first. Then messages of now come at 60 % of it, and the
memory of every process is looked at; then for two minutes at 40 %, one minute at ten times that,
and again at 40 % until all is stored. Every message has words of its own, so the model reads each.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from connectors.message import Message
from tests.benchmarks.live_job import Job, live_job
from tests.faults.stream import of_the_sample

_STEADY, _CALM, _TIMES = 0.6, 0.4, 10
_BEFORE_SECONDS, _BURST_SECONDS, _AFTER_SECONDS = 120.0, 60.0, 720.0
_LOOK_SECONDS = 10.0
_WARM_UP = 1 / 3
"""Of the time, until caches and heaps have their size; slopes are taken behind it."""

Sizes = dict[str, list[tuple[float, float]]]
"""Part -> (minutes since the start, MB) again and again."""


class Load:
    """Sends messages of now, one stretch after another, each message of its own."""

    def __init__(self, job: Job, texts: Sequence[Message]) -> None:
        self._job = job
        self._texts = texts
        self.sent = 0

    def run(self, per_second: float, seconds: float) -> Iterator[None]:
        """Sends for so long; yields again and again."""
        first = self.sent
        for sent in self._job.send_now(self._texts, per_second, seconds, first=first):
            self.sent = first + sent
            yield


def watched(job: Job, running: Iterator[None]) -> Sizes:
    """The memory of every process while a load is running."""
    sizes: Sizes = defaultdict(list)
    started = looked = time.monotonic()
    for _ in running:
        if time.monotonic() - looked < _LOOK_SECONDS:
            continue
        looked = time.monotonic()
        for part, pids in job.processes().items():
            sizes[part].append(((looked - started) / 60, sum(map(megabytes, pids))))
    return sizes


def megabytes(pid: int) -> float:
    """The proportional share of memory of a process; 0 of one that has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1000
    return 0.0


def report(sizes: Sizes) -> None:
    """Prints each part's memory and its slope."""
    print(f"{'process':<14} {'at first':>9} {'at last':>9} {'MB a minute':>12}")
    for part, seen in sorted(sizes.items()):
        settled = [one for one in seen if one[0] >= seen[-1][0] * _WARM_UP]
        slope = np.polyfit(*zip(*settled, strict=True), 1)[0]
        print(f"{part:<14} {settled[0][1]:>9,.0f} {settled[-1][1]:>9,.0f} {slope:>12.2f}")
    last = sum(seen[-1][1] for seen in sizes.values())
    print(f"{'together':<14} {'':>9} {last:>9,.0f}")


def drained(job: Job, load: Load, before: int, per_second: float) -> float | None:
    """Seconds until all that had been sent is stored, while more comes; None where it took longer
    than is allowed."""
    wanted, started = before + load.sent, time.monotonic()
    looked = started
    for _ in load.run(per_second, _AFTER_SECONDS):
        if time.monotonic() - looked >= 1:
            looked = time.monotonic()
            if job.stored() >= wanted:
                return looked - started
    return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--messages", type=int, default=8_000, help="to measure the rate with")
    given = parser.parse_args()
    texts = of_the_sample(given.messages)
    with live_job() as job:
        job.send(texts)
        job.wait_for(len(texts))
        rate, load = job.rate(), Load(job, texts)
        print(f"the job alone: {rate:,.0f} messages a second", flush=True)
        sizes = watched(job, load.run(_STEADY * rate, given.minutes * 60))
        took = job.wait_for(len(texts) + load.sent)
        print(f"{load.sent:,} messages at {_STEADY * rate:,.0f}/s, the last stored {took:.0f} s on")
        report(sizes)
        for _ in load.run(_CALM * rate, _BEFORE_SECONDS):
            pass
        for _ in load.run(_CALM * _TIMES * rate, _BURST_SECONDS):
            pass
        seconds = drained(job, load, len(texts), _CALM * rate)
        job.wait_for(len(texts) + load.sent)
        print(
            f"a minute at {_CALM * _TIMES * rate:,.0f}/s was drained after "
            f"{'too long' if seconds is None else f'{seconds:.0f} s'}; "
            f"{load.sent:,} sent, {job.stored() - len(texts):,} stored"
        )


if __name__ == "__main__":
    main()
