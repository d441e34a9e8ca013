"""Two stores compared: all rows, or all final rows, without what may differ between runs."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import select

from alerting.decisions import Standing, follow_all
from alerting.ledger import LedgerRow
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


def contents(where: Path | str) -> dict[str, list[dict[str, Any]]]:
    """The compared rows of every table, in an order of their own: those that are final."""
    with Store.open(where) as store:
        return {name: _rows(store, name) for name in COMPARED}


class Difference(NamedTuple):
    """Of one table: how many rows the replay left, and those that one of both left alone."""

    rows: int
    live: list[str]
    replay: list[str]

    def __bool__(self) -> bool:
        return bool(self.live or self.replay)


def differences(live: Path | str, replay: Path | str) -> dict[str, Difference]:
    """Table -> what sets the two stores apart in it."""
    ours, theirs = final_contents(live), final_contents(replay)
    found = {}
    for name in COMPARED:
        mine, others = Counter(map(repr, ours[name])), Counter(map(repr, theirs[name]))
        found[name] = Difference(
            len(theirs[name]),
            sorted((mine - others).elements()),
            sorted((others - mine).elements()),
        )
    return found


def final_contents(path: Path | str) -> dict[str, list[Any]]:
    """`contents` without what is provisional: what a live job leaves is compared by this."""
    with Store.open(path) as store:
        tables = {name: _rows(store, name) for name in COMPARED if name != "alert_events"}
        events = sorted(final_events(store).items())
    final = {name: [row for row in rows if row.get("final", True)] for name, rows in tables.items()}
    return {**final, "alert_events": events}


def standing(store: Store) -> dict[str, Standing]:
    """What the ledger says of each alert."""
    filed: dict[str, list[LedgerRow]] = {}
    for row in store.events():
        if row["alert_id"] is not None:
            filed.setdefault(row["alert_id"], []).append(LedgerRow(**row))
    found = {alert_id: follow_all(rows) for alert_id, rows in filed.items()}
    return {alert_id: one for alert_id, one in found.items() if one is not None}


def final_events(store: Store) -> dict[str, Any]:
    """Event -> what it is, when, and the alert after it, of all that is final."""
    first = {row["id"]: (row["event"], row["occurred_at"]) for row in store.events()}
    return {
        event_id: (*first[event_id], said.alert)
        for one in standing(store).values()
        for event_id, said in one.said.items()
        if said.alert.final and not said.withdrawn
    }


def _rows(store: Store, name: str) -> list[dict[str, Any]]:
    table = schema.metadata.tables[name]
    columns = [column for column in table.columns if column.name not in MAY_DIFFER]
    query = select(*columns)
    if "final" in table.columns:
        query = query.where(table.c.final)
    return sorted(store.rows(query), key=repr)
