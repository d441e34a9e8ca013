"""What a watch step commits, in pieces: minutes that are provisional first and final later."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger

from alerting.alert import Alert, AlertChange
from alerting.lifecycle import Lifecycle
from alerting.spike import Spike
from connectors.store import Store, Transaction, schema
from pipelines.manifest import digest
from pipelines.recording import record_changes
from tests.pipelines.ledgers import CLOCK, MANIFEST, RUN, message, message_row, tag_row

Minute = tuple[datetime, list[Spike]]

MESSAGES = [f"m{number}" for number in range(6)]
_COUNTS = {c.name: 1 for c in schema.window_stats.columns if isinstance(c.type, BigInteger)}


def prepared(store: Store) -> None:
    """The messages that alerts show, and the run that finds them."""
    assert digest(MANIFEST) == RUN
    with store.transaction() as tx:
        tx.upsert("messages", [message_row(name) for name in MESSAGES])
        tx.upsert("tags", [tag_row(name) for name in MESSAGES])
        tx.save_run(
            {
                "id": RUN,
                "kind": "alerts",
                "manifest": MANIFEST,
                "state": "running",
                "started_at": CLOCK,
                "finished_at": None,
                "counters": {},
                "error": None,
            }
        )


def committed(store: Store, minutes: Sequence[Minute], *, final: bool) -> None:
    """Commits the minutes and their spikes, all final or all provisional."""
    with store.transaction() as tx:
        windows = [window(start, final) for start, _ in minutes]
        tx.upsert("window_stats", windows)
        found = [msgspec.structs.replace(one, final=final) for _, some in minutes for one in some]
        tx.upsert_records("spikes", found, run_id=[RUN] * len(found))


def window(start: datetime, final: bool, configuration: str = "c") -> dict[str, Any]:
    return {
        **_COUNTS,
        "key": "overall",
        "start": start,
        "seconds": 60,
        "configuration": configuration,
        "final": final,
        "frontier": start,
    }


def shown(_tx: Transaction, alerts: Sequence[Alert]) -> list[Alert]:
    """The alerts with their messages; a repeat comes between the provisional and the final look."""
    return [
        msgspec.structs.replace(
            alert,
            evidence={
                **alert.evidence,
                "messages": [
                    message(name) | {"repeats": 1 + alert.final}
                    for name in alert.evidence["message_ids"]
                ],
            },
        )
        for alert in alerts
    ]


def replayed(store: Store, minutes: Sequence[Minute]) -> None:
    """What a replay of the same minutes files."""
    life = Lifecycle()
    state, changes = life.initial(), list[AlertChange]()
    for minute, spikes in minutes:
        for event in (*spikes, minute):
            state, found = life.step(state, event)
            changes += found
    with store.transaction() as tx:
        alerts = shown(tx, [change.alert for change in changes])
        record_changes(tx, list(zip(changes, alerts, strict=True)), RUN, CLOCK)


def final_alerts(store: Store) -> list[dict[str, Any]]:
    """The rows of `alerts` that are final."""
    return sorted((row for row in store.alerts() if row["final"]), key=lambda row: row["id"])
