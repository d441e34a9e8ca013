"""*Tag*: messages in, the same messages with entities, topic and sentiment out, in arrival order.

Nothing here waits for event time. The transform is stateless: deduplication stands before it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from connectors.dead_letter import DeadLetter, dead_letter
from connectors.message import Message
from models.entities import Mention, Recogniser, Recognition
from models.marking import mark
from models.tagger import Tagger, TaggingError
from models.tags import SENTIMENTS, Tags
from pipelines.configuration import TagSettings
from pipelines.records import Tagged, content

DEAD_LETTERS = "dead_letters"
TAGGED = "tagged"

_BATCHES_AT_ONCE = 2

_NOBODYS_NEWS = 0.9
"""A text so probably neutral as a whole is not asked again for each company that it names."""

Result = Tagged | DeadLetter
_Running = tuple[list[WindowedValue], Future[list[Result]]]


def tag_messages(
    messages: Sequence[Message], tagger: Tagger, recogniser: Recogniser
) -> list[Result]:
    """One result for each message, in order; one that the model failed on is a dead letter.

    Where a text names several companies and the model can tell whose sentiment it is, each is asked
    for on its own.
    """
    found = [
        recogniser.recognise(content(one), at=one.published_at, given=one.entities)
        for one in messages
    ]
    answers = tagger.tag([content(one) for one in messages])
    asked = [
        (row, mention.entity, mark(content(messages[row]), mention.start, mention.end))
        for row, tags in enumerate(answers)
        if tagger.config.marks_entities and isinstance(tags, Tags)
        for mention in _whose(found[row], tags)
    ]
    own: list[dict[str, Tags]] = [{} for _ in messages]
    for (row, entity, _), tags in zip(asked, tagger.tag([one[2] for one in asked]), strict=True):
        if isinstance(tags, Tags):
            own[row][entity] = tags
    return [
        Tagged(message, tags, seen.entities, seen.listing, by_entity)
        if isinstance(tags, Tags)
        else failed(message, tags)
        for message, tags, seen, by_entity in zip(messages, answers, found, own, strict=True)
    ]


def _whose(found: Recognition, tags: Tags) -> Iterable[Mention]:
    """The first mention of each company, where the text's own sentiment may not be everybody's."""
    neutral = tags.sentiments[SENTIMENTS.index("neutral")]
    if found.listing or len(found.entities) < 2 or neutral >= _NOBODYS_NEWS:
        return ()
    first: dict[str, Mention] = {}
    for mention in found.mentions:
        if mention.end:
            first.setdefault(mention.entity, mention)
    return first.values()


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
    """Collects batches within a bundle, and gives each result its message's own timestamp back.

    While the model works on one batch, the next is made ready: no core waits at the end of one.
    """

    def __init__(self, settings: TagSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._tagger = self._settings.tagger()
        self._recogniser = Recogniser.default()
        self._model = ThreadPoolExecutor(_BATCHES_AT_ONCE)

    def teardown(self) -> None:
        self._model.shutdown()

    def start_bundle(self) -> None:
        self._batch: list[WindowedValue] = []
        self._running: deque[_Running] = deque()

    def process(
        self,
        message: Message,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterable[Any]:
        self._batch.append(WindowedValue(message, timestamp, (window,)))
        if len(self._batch) >= self._settings.batch:
            self._hand_over()
            if len(self._running) > _BATCHES_AT_ONCE:
                yield from self._finished()

    def finish_bundle(self) -> Iterable[Any]:
        if self._batch:
            self._hand_over()
        while self._running:
            yield from self._finished()

    def _hand_over(self) -> None:
        messages = [held.value for held in self._batch]
        tagging = self._model.submit(tag_messages, messages, self._tagger, self._recogniser)
        self._running.append((self._batch, tagging))
        self._batch = []

    def _finished(self) -> Iterator[Any]:
        """The results of the batch that was handed over first."""
        batch, tagging = self._running.popleft()
        for held, result in zip(batch, tagging.result(), strict=True):
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
