"""Stores with a few alerts, made by the pipeline's own way into the ledger."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from alerting.alert import AlertChange
from alerting.spike import Spike
from connectors.message import Message
from connectors.store import Store
from pipelines.manifest import digest
from pipelines.recording import record_changes
from tests.alerting.test_lifecycle import HOUR, NOON, run, spike

CLOCK = datetime(2026, 3, 1, 9, tzinfo=UTC)
MANIFEST = {"schema": 1, "code": "0", "configuration": {"surge": {"budget": "fewer"}}}
RUN = digest(MANIFEST)
TEXT = "Boeing müde <script>alert(1)</script> \u202e of {}"


def spikes() -> list[Spike]:
    return [
        spike(),
        spike(NOON + HOUR, surprise=9.0, observed=40.0),
        spike(NOON + HOUR, key="entity:B", message_ids=("m1300", "other")),
    ]


def changes() -> list[AlertChange]:
    """Opened, updated, then another opened, and that one resolved."""
    found = run([*spikes(), spike(NOON + 4 * HOUR), NOON + 6 * HOUR])[1]
    return [*found[:2], *[change for change in found if change.alert.key == "entity:B"]]


def message(name: str) -> dict[str, Any]:
    """As an alert shows it."""
    return {
        "id": name,
        "source": "feed",
        "title": None,
        "text": TEXT.format(name),
        "url": None,
        "published_at": NOON.isoformat(),
        "sentiment": "negative",
        "negative": 0.9,
        "neutral": 0.1,
        "positive": 0.0,
        "abstained": False,
        "topic": "Earnings",
        "story": name,
        "repeat": False,
        "repeats": 2,
        "words": [(0, 6, 0.5)],
    }


def stored(store: Store, found: list[AlertChange] | None = None) -> None:
    """Fills the store with what a run that found these changes leaves."""
    found = changes() if found is None else found
    names = list(dict.fromkeys(n for c in found for n in c.alert.evidence["message_ids"]))
    with store.transaction() as tx:
        tx.upsert("messages", [message_row(name) for name in names])
        tx.upsert("tags", [tag_row(name) for name in names])
        tx.upsert_records("spikes", spikes(), run_id=[RUN] * 3)
        tx.save_run(
            {
                "id": RUN,
                "kind": "replay",
                "manifest": MANIFEST,
                "state": "finished",
                "started_at": CLOCK,
                "finished_at": CLOCK + timedelta(minutes=1),
                "counters": {},
                "error": None,
            }
        )
        shown = [
            msgspec.structs.replace(
                change.alert,
                evidence={
                    **change.alert.evidence,
                    "messages": [message(n) for n in change.alert.evidence["message_ids"]],
                },
            )
            for change in found
        ]
        record_changes(tx, list(zip(found, shown, strict=True)), RUN, CLOCK)


def message_row(name: str) -> dict[str, Any]:
    record = Message(id=name, source="feed", published_at=NOON, text=TEXT.format(name))
    return msgspec.structs.asdict(record)


def tag_row(name: str) -> dict[str, Any]:
    shown = message(name)
    names = ("sentiment", "topic", "negative", "neutral", "positive", "abstained", "repeat")
    return {
        "message_id": name,
        "published_at": NOON,
        **{column: shown[column] for column in names},
        "topics": [0.05] * 20,
        "entities": ["A"],
        "by_entity": None,
        "listing": False,
        "story": name,
        "model": {"name": "m", "version": "1", "checksum": "c", "numeric_path": "int8"},
        "processed_at": CLOCK,
    }
