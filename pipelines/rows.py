"""Records as rows of the store, the same from a replay and from the live job."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby, repeat
from operator import attrgetter
from typing import Any

import msgspec

from alerting.windows import WindowStats
from connectors.dead_letter import DeadLetter
from connectors.store import Transaction
from models.tags import SENTIMENTS, ModelIdentity, Tags
from pipelines.records import Tagged, Watched
from pipelines.watch import Outcome

_SPAN = {seconds: timedelta(seconds=seconds) for seconds in (60, 3600)}


def bury(tx: Transaction, letters: Sequence[DeadLetter], run_id: str, now: datetime) -> None:
    """Stores dead letters; twice is harmless, their ids being what they are."""
    tx.upsert_records("dead_letters", letters, run_id=repeat(run_id), recorded_at=repeat(now))


def write_found(
    tx: Transaction, outcome: Outcome, run_id: str, frontier: datetime | None = None
) -> int:
    """Stores windows and spikes, and returns how many spikes.

    `frontier`: how far the event time was known, for provisional rows; that of a final bucket is
    its end, so that where a run is cut does not show.
    """
    windows = outcome.windows
    frontiers = _ends(windows) if frontier is None else repeat(frontier)
    tx.upsert_records("window_stats", windows, frontier=frontiers)
    spikes = [spike for _, found in outcome.minutes for spike in found]
    tx.upsert_records("spikes", spikes, run_id=repeat(run_id))
    return len(spikes)


def _ends(windows: Iterable[WindowStats]) -> Iterator[datetime]:
    for (start, seconds), held in groupby(windows, attrgetter("start", "seconds")):
        end = start + _SPAN[seconds]
        yield from (end for _ in held)


def watched_rows(watched: Sequence[Watched], now: datetime) -> list[dict[str, Any]]:
    """Rows of `tags`, with the story of each message."""
    return [
        {**row, "story": one.story, "repeat": one.repeat}
        for one, row in zip(watched, _tag_rows([one.tagged for one in watched], now), strict=True)
    ]


def tag_rows(tagged: Iterable[Tagged], now: datetime) -> list[dict[str, Any]]:
    """Rows of `tags` of messages that are not watched yet, or never will be."""
    return [{**row, "repeat": False} for row in _tag_rows(tagged, now)]


def _tag_rows(tagged: Iterable[Tagged], now: datetime) -> Iterator[dict[str, Any]]:
    identity: ModelIdentity | None = None
    model: dict[str, Any] = {}
    for one in tagged:
        tags = one.tags
        if tags.model != identity:
            identity, model = tags.model, msgspec.structs.asdict(tags.model)
        negative, neutral, positive = tags.sentiments
        yield {
            "message_id": one.message.id,
            "published_at": one.message.published_at,
            "sentiment": tags.sentiment,
            "topic": tags.topic,
            "negative": negative,
            "neutral": neutral,
            "positive": positive,
            "topics": tags.topics,
            "abstained": tags.abstained,
            "entities": one.entities,
            "by_entity": {name: _plain(own) for name, own in one.by_entity.items()} or None,
            "listing": one.listing,
            "model": model,
            "processed_at": now,
        }


def _plain(tags: Tags) -> dict[str, Any]:
    return {
        "sentiment": tags.sentiment,
        **dict(zip(SENTIMENTS, tags.sentiments, strict=True)),
        "abstained": tags.abstained,
    }
