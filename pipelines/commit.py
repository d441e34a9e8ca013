"""The commit of a slice: its rows, its alerts and the state after it, in one transaction.

A slice that was killed has left nothing; one that was committed is never run again. Inside a replay
the life of the alerts is a step of this commit: it alone writes alerts and the ledger.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat

from alerting.alert import AlertChange
from alerting.lifecycle import Lifecycle, LifecycleSettings
from alerting.spike import Spike
from connectors.store import Store, Transaction
from pipelines.alerting.incidents import group
from pipelines.graph import SliceResult
from pipelines.recording import Enrich, record_changes
from pipelines.rows import bury, watched_rows, write_found

_LIFECYCLE = "alerts"
_VERSION = 1


class Committer:
    """Commits the slices of one run, in order. `stored`: the state that the run goes on from."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        alerts: LifecycleSettings,
        enrich: Enrich,
        stored: Mapping[str, tuple[int, bytes]],
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._enrich = enrich
        self._life = Lifecycle(alerts)
        self._alerts = self._life.initial()
        if _LIFECYCLE in stored:
            self._alerts = self._life.decode(stored[_LIFECYCLE][1])

    def commit(self, result: SliceResult) -> None:
        """Writes a slice. After an error this object is of no more use: its alerts are ahead."""
        now = datetime.now(UTC)
        with self._store.transaction() as tx:
            counters = self._rows(tx, result, now)
            changes = self._live(tx, result.outcome.minutes, now)
            counters["alerts"] = sum(change.event == "opened" for change in changes)
            alerts = (_VERSION, self._life.encode(self._alerts))
            tx.save_state(self._run_id, result.number, {**result.state, _LIFECYCLE: alerts})
            count(tx, self._run_id, counters, slices=result.number + 1, position=result.end)

    def _rows(self, tx: Transaction, result: SliceResult, now: datetime) -> dict[str, int]:
        outcome, letters = result.outcome, result.dead_letters
        messages = [one.tagged.message for one in outcome.watched]
        stored = tx.upsert_records("messages", messages, received_at=repeat(now))
        tx.upsert("tags", watched_rows(outcome.watched, now))
        spikes = write_found(tx, outcome, self._run_id)
        bury(tx, letters, self._run_id, now)
        return {
            "stored": stored,
            "duplicates": result.duplicates + len(outcome.watched) - stored,
            "dead_letters": len(letters),
            "spikes": spikes,
        }

    def _live(
        self, tx: Transaction, minutes: Sequence[tuple[datetime, list[Spike]]], now: datetime
    ) -> list[AlertChange]:
        changes: list[AlertChange] = []
        for minute, spikes in minutes:
            events: tuple[Spike | datetime, ...] = (*spikes, minute)
            for event in events:
                self._alerts, found = self._life.step(self._alerts, event)
                changes += found
        enriched = self._enrich(tx, [change.alert for change in changes])
        told = list(zip(changes, enriched, strict=True))
        group(tx, record_changes(tx, told, self._run_id, now), now)
        return changes


def count(tx: Transaction, run_id: str, found: Mapping[str, int], **reached: int) -> None:
    """Adds what was `found` to the counters of a run, and writes down how far it has `reached`."""
    run = tx.run(run_id)
    if run is None:
        raise LookupError(f"run {run_id} is not in the store")
    counters = {**run["counters"], **reached}
    for name, more in found.items():
        counters[name] = counters.get(name, 0) + more
    tx.save_run({**run, "counters": counters})
