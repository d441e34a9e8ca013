"""Plain texts, not messages of a stream, tagged for whoever asks: the command and the API."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from connectors.dead_letter import DeadLetter
from connectors.message import Message
from models.entities import Recogniser
from models.tagger import Tagger
from models.tags import SENTIMENTS, TOPICS, Tags
from pipelines.records import Tagged
from pipelines.tagging import tag_messages

_BATCH = 256


def tag_all(texts: Iterable[str], tagger: Tagger) -> Iterator[dict[str, Any]]:
    """One result for each text, in order, as plain values."""
    now, source = datetime.now(UTC), iter(texts)
    while batch := list(islice(source, _BATCH)):
        messages = [Message(id="", source="command", published_at=now, text=text) for text in batch]
        for text, found in zip(
            batch, tag_messages(messages, tagger, Recogniser.default()), strict=True
        ):
            yield _result(text, found)


def _result(text: str, found: Tagged | DeadLetter) -> dict[str, Any]:
    if isinstance(found, DeadLetter):
        return {"text": text, "error": found.error}
    tags = found.tags
    return {
        "text": text,
        "sentiment": tags.sentiment,
        "topic": tags.topic,
        "abstained": tags.abstained,
        "entities": {name: _mood(found.by_entity.get(name, tags)) for name in found.entities},
        "probabilities": {
            "sentiment": dict(zip(SENTIMENTS, tags.sentiments, strict=True)),
            "topic": dict(zip(TOPICS, tags.topics, strict=True)),
        },
        "model": {
            "name": tags.model.name,
            "version": tags.model.version,
            "checksum": tags.model.checksum,
            "numeric_path": tags.model.numeric_path,
        },
    }


def _mood(tags: Tags) -> dict[str, Any]:
    return {
        "sentiment": tags.sentiment,
        "probability": max(tags.sentiments),
        "abstained": tags.abstained,
    }
