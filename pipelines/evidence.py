"""What an alert shows of its messages: text, source, time, probabilities, weightiest words.

It is a snapshot: whatever happens to a message later, the alert says what was known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, select

from alerting.alert import Alert
from connectors.store import Transaction
from connectors.store.schema import messages, tags
from models.explanation import explain
from pipelines.configuration import TagSettings

SHOWN = 8
"""Messages of an alert that are shown whole; the ids of the others are in its spikes."""

_WORDS = 12  # words that a message's attributions name


@dataclass(frozen=True)
class AddEvidence:
    """Adds `messages` to an alert's evidence, from the store and the model of `settings`."""

    settings: TagSettings

    def __call__(self, tx: Transaction, alert: Alert) -> Alert:
        wanted = alert.evidence.get("message_ids", ())[:SHOWN]
        shown = [self._message(row) for row in _rows(tx, wanted, alert.updated_at)]
        return msgspec.structs.replace(alert, evidence={**alert.evidence, "messages": shown})

    def _message(self, row: Mapping[str, Any]) -> dict[str, Any]:
        words = explain(row["text"], self.settings.tagger(), "sentiment", row["sentiment"])
        heaviest = sorted(words, key=lambda word: -abs(word.weight))[:_WORDS]
        return {
            **{name: row[name] for name in _SHOWN_COLUMNS},
            "published_at": row["published_at"].isoformat(),
            "repeats": row["repeats"],
            "words": [
                [word.start, word.end, round(word.weight, 4)]
                for word in sorted(heaviest, key=lambda word: word.start)
            ],
        }


_SHOWN_COLUMNS = (
    "id",
    "source",
    "title",
    "text",
    "url",
    "sentiment",
    "negative",
    "neutral",
    "positive",
    "abstained",
    "topic",
    "story",
    "repeat",
)


def _rows(tx: Transaction, wanted: Sequence[str], until: datetime) -> list[dict[str, Any]]:
    """The messages with their tags and how often each was repeated `until` then, as wanted."""
    other = tags.alias()
    repeats = (
        select(func.count())
        .where(other.c.story == messages.c.id, other.c.repeat, other.c.published_at <= until)
        .scalar_subquery()
        .label("repeats")
    )
    columns = [
        tags.c[name] if name in tags.c else messages.c[name]
        for name in (*_SHOWN_COLUMNS, "published_at")
    ]
    query = (
        select(*columns, repeats)
        .join(tags, tags.c.message_id == messages.c.id)
        .where(messages.c.id.in_(wanted))
    )
    found = {row["id"]: row for row in tx.rows(query)}
    return [found[message_id] for message_id in wanted if message_id in found]
