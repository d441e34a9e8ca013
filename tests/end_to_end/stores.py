"""Two stores compared: all final rows, without what may differ between runs."""

from pathlib import Path
from typing import Any

from sqlalchemy import select

from connectors.store import Store, schema

COMPARED = (
    "messages",
    "tags",
    "window_stats",
    "spikes",
    "alerts",
    "alert_events",
    "dead_letters",
    "late_messages",
)
MAY_DIFFER = {
    "received_at",
    "processed_at",
    "recorded_at",
    "delivered_at",
    "hash",
    "previous_hash",
    "seals",
    "sequence",
    "run_id",
}


def contents(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The compared rows of every table, in an order of their own."""
    with Store.open(path) as store:
        return {name: _rows(store, name) for name in COMPARED}


def _rows(store: Store, name: str) -> list[dict[str, Any]]:
    table = schema.metadata.tables[name]
    columns = [column for column in table.columns if column.name not in MAY_DIFFER]
    return sorted(store.rows(select(*columns)), key=repr)
