"""The rows of `runs`: what a process did, from which manifest, and whether it ended in order."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.store import Transaction


def new_run(run_id: str, kind: str, described: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The row of a run that begins; `described` is its manifest."""
    return {
        "id": run_id,
        "kind": kind,
        "manifest": dict(described),
        "state": "running",
        "started_at": now,
        "finished_at": None,
        "counters": {},
        "error": None,
    }


def begin_run(
    tx: Transaction, run_id: str, kind: str, described: Mapping[str, Any], now: datetime
) -> None:
    """Says that a run is going on: a new one, or again one that was known."""
    run = tx.run(run_id) or new_run(run_id, kind, described, now)
    tx.save_run({**run, "state": "running", "finished_at": None, "error": None})


def finish_run(tx: Transaction, run_id: str, now: datetime) -> None:
    """Says that a run ended in order."""
    run = tx.run(run_id)
    if run is not None:
        tx.save_run({**run, "state": "finished", "finished_at": now})
