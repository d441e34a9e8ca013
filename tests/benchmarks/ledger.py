"""Time and memory of a proof, an export and a head: python -m tests.benchmarks.ledger [--alerts N].

Fills a store with alerts that opened and resolved, by the pipeline's own way into the ledger, then
does each in turn and prints how long it took and the most memory that Python held for it.
"""

import argparse
import io
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from alerting.alert import AlertChange
from connectors.store import Store
from pipelines.audit import prove, proven_end
from pipelines.export.dossier import gathered, one, write_jsonl
from tests.alerting.test_lifecycle import NOON, run, spike
from tests.pipelines.ledgers import stored

_BATCH = 1_000


def main() -> None:
    """Fills, works, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=20_000)
    given = parser.parse_args()
    with TemporaryDirectory() as folder, Store.open(Path(folder) / "ledger.db") as store:
        for found in changes(given.alerts):
            stored(store, found)
        first = store.alerts(limit=1)[0]["id"]
        size = proven_end(store).sequence
        print(f"{given.alerts:,} alerts, {size:,} rows in the ledger")
        for name, work in {
            "proof": lambda: prove(store).holds,
            "head": lambda: proven_end(store).sequence == size,
            "export of one alert": lambda: exported(store, first),
        }.items():
            seconds, most = measured(work)
            print(f"{name:<20}{seconds:>8.1f} s{most / 1e6:>8.1f} MB")


def changes(alerts: int) -> Iterator[list[AlertChange]]:
    """What a run finds, some at a time."""
    for start in range(0, alerts, _BATCH):
        keys = [f"entity:K{number}" for number in range(start, min(start + _BATCH, alerts))]
        yield run([*(spike(key=key) for key in keys), NOON + timedelta(hours=6)])[1]


def exported(store: Store, alert_id: str) -> bool:
    """Writes one alert with the whole chain, to nowhere."""

    class Nowhere(io.TextIOBase):
        def write(self, text: str) -> int:
            return len(text)

    with gathered(store, one(alert_id)) as dossier:
        write_jsonl(dossier, Nowhere())
    return True


def measured(work: Callable[[], bool]) -> tuple[float, int]:
    """Seconds of one run, and bytes at the most of another: to trace memory takes time."""
    begun = time.perf_counter()
    assert work()
    seconds = time.perf_counter() - begun
    tracemalloc.start()
    assert work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return seconds, most


if __name__ == "__main__":
    main()
