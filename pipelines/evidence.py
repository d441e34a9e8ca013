"""What an alert shows of its messages: text, source, time, probabilities, weightiest words.

It is a snapshot: whatever happens to a message later, the alert says what was known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, and_, func, select

from alerting.alert import Alert
from connectors.store import Transaction
from connectors.store.schema import messages, tags
from models.explanation import Attribution, explain_all
from pipelines.configuration import TagSettings

SHOWN = 5
"""Messages of an alert that are shown whole; the ids of the others are in its spikes."""

_EXPLAINED = 3  # of them, with the words that moved the model
_WORDS = 12  # words that a message's attributions name
_REMEMBERED = 4096  # texts whose words are not asked for again: an alert is updated many times

_Asked = tuple[str, str]  # a text and the label to explain

_COLUMNS = (
    "id",
    "source",
    "title",
    "text",
    "url",
    "published_at",
    "sentiment",
    "negative",
    "neutral",
    "positive",
    "abstained",
    "topic",
    "by_entity",
    "story",
    "repeat",
)


@dataclass(frozen=True)
class AddEvidence:
    """Adds `messages` to the evidence of alerts, from the store and the model of `settings`."""

    settings: TagSettings

    def __call__(self, tx: Transaction, alerts: Sequence[Alert]) -> list[Alert]:
        """All alerts at once: a text that several show is explained once, all in one batch.

        Words are given for the weightiest messages where the mood made the alert; plain volume
        is not a matter of words.
        """
        shown = [(alert, shown_messages(tx.rows, alert)) for alert in alerts]
        moody = [r for alert, rows in shown if alert.kind != "volume" for r in rows[:_EXPLAINED]]
        words = self._words({(row["text"], row["sentiment"]) for row in moody})
        for row in moody:
            row["words"] = words[row["text"], row["sentiment"]]
        return [
            msgspec.structs.replace(alert, evidence={**alert.evidence, "messages": rows})
            for alert, rows in shown
        ]

    def _words(self, asked: set[_Asked]) -> dict[_Asked, list[tuple[int, int, float]]]:
        known = _known.setdefault(self.settings, {})
        if len(known) > _REMEMBERED:
            known.clear()
        fresh = sorted(asked - known.keys())
        found = explain_all(fresh, self.settings.tagger())
        known.update(zip(fresh, map(_heaviest, found), strict=True))
        return known


_known: dict[TagSettings, dict[_Asked, list[tuple[int, int, float]]]] = {}


def _heaviest(words: Sequence[Attribution]) -> list[tuple[int, int, float]]:
    """(start, end, weight) of the words that weigh most, in the text's order."""
    heaviest = sorted(words, key=lambda word: -abs(word.weight))[:_WORDS]
    return sorted((word.start, word.end, round(word.weight, 4)) for word in heaviest)


Rows = Callable[[Select[Any]], list[dict[str, Any]]]
"""`rows` of a transaction or of a store."""


def shown_messages(rows: Rows, alert: Alert) -> list[dict[str, Any]]:
    """The alert's weightiest messages, with how often each was repeated until its last update."""
    wanted = alert.evidence["message_ids"][:SHOWN]
    found = {row["id"]: row for row in rows(_query(wanted, alert.updated_at))}
    entity = alert.key.removeprefix("entity:")
    shown = [found[message_id] for message_id in wanted if message_id in found]
    for row in shown:
        row["published_at"] = row["published_at"].isoformat()
        row |= (row.pop("by_entity") or {}).get(entity, {})  # whose alert it is, his sentiment
    return shown


def _query(wanted: Sequence[str], until: datetime) -> Any:
    other = tags.alias()
    repeats = (
        select(func.count())
        .where(other.c.story == messages.c.id, other.c.repeat, other.c.published_at < until)
        .scalar_subquery()
        .label("repeats")
    )
    columns = [tags.c[name] if name in tags.c else messages.c[name] for name in _COLUMNS]
    same = and_(tags.c.message_id == messages.c.id, tags.c.published_at == messages.c.published_at)
    return select(*columns, repeats).join(tags, same).where(messages.c.id.in_(wanted))
