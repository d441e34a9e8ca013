"""*Tag*: messages in, the same messages with entities, topic and sentiment out, in arrival order.

Nothing here waits for event time. The transform is stateless: deduplication stands before it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from connectors.dead_letter import DeadLetter, dead_letter
from connectors.message import Message
from models.entities import Recogniser
from models.tagger import Tagger, TaggingError
from models.tags import Tags
from pipelines.configuration import TagSettings
from pipelines.records import Tagged, content

DEAD_LETTERS = "dead_letters"
TAGGED = "tagged"


def tag_messages(
    messages: Sequence[Message], tagger: Tagger, recogniser: Recogniser
) -> Iterator[Tagged | DeadLetter]:
    """One result for each message, in order; a message that the model fails on is a dead letter."""
    texts = [content(message) for message in messages]
    for message, text, tags in zip(messages, texts, tagger.tag(texts), strict=True):
        if isinstance(tags, Tags):
            found = recogniser.recognise(text, at=message.published_at, given=message.entities)
            yield Tagged(message, tags, found.entities, found.listing)
        else:
            yield failed(message, tags)


def failed(message: Message, error: TaggingError) -> DeadLetter:
    """The dead letter of a message that was read, and then failed in the model."""
    return dead_letter(
        source=message.source,
        stage="tag",
        reason="model-failed",
        error=str(error),
        payload=msgspec.json.encode(message),
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
    )


class TagMessages(beam.DoFn):
    """Collects a batch within a bundle, and gives each result its message's own timestamp back."""

    def __init__(self, settings: TagSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._tagger = self._settings.tagger()
        self._recogniser = Recogniser.default()

    def start_bundle(self) -> None:
        self._batch: list[WindowedValue] = []

    def process(
        self,
        message: Message,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterable[Any]:
        self._batch.append(WindowedValue(message, timestamp, (window,)))
        if len(self._batch) >= self._settings.batch:
            yield from self._flush()

    def finish_bundle(self) -> Iterable[Any]:
        yield from self._flush()

    def _flush(self) -> Iterator[Any]:
        batch, self._batch = self._batch, []
        results = tag_messages([held.value for held in batch], self._tagger, self._recogniser)
        for held, result in zip(batch, results, strict=True):
            if isinstance(result, DeadLetter):
                yield TaggedOutput(DEAD_LETTERS, held.with_value(result))
            else:
                yield held.with_value(result)


class Tag(beam.PTransform[Any, Any]):
    """`Message` -> a tuple of two: `Tagged` under "tagged", `DeadLetter` under "dead_letters"."""

    def __init__(self, settings: TagSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, messages: PCollection[Message]) -> Any:
        return messages | "Tag messages" >> beam.ParDo(TagMessages(self._settings)).with_outputs(
            DEAD_LETTERS, main=TAGGED
        )
