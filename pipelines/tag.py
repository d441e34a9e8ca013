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
from models.entities import Recogniser
from models.tagger import TaggingError
from models.tags import Tags
from pipelines.configuration import TagSettings
from pipelines.records import Tagged, content

DEAD_LETTERS = "dead_letters"
TAGGED = "tagged"

_BATCHES_AT_ONCE = 2
_Running = tuple[list[WindowedValue], Future[list[Tags | TaggingError]]]


def tag_messages(
    messages: Sequence[Message],
    answers: Sequence[Tags | TaggingError],
    recogniser: Recogniser,
) -> Iterator[Tagged | DeadLetter]:
    """One result for each message and the model's answer to it, in order.

    A message that the model failed on is a dead letter.
    """
    for message, tags in zip(messages, answers, strict=True):
        if isinstance(tags, Tags):
            text = content(message)
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
    """Collects batches within a bundle, and gives each result its message's own timestamp back.

    While the model works on one batch, the next is made ready and the results of the one before are
    put together: no core waits at the end of a batch.
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
        texts = [content(held.value) for held in self._batch]
        self._running.append((self._batch, self._model.submit(self._tagger.tag, texts)))
        self._batch = []

    def _finished(self) -> Iterator[Any]:
        """The results of the batch that was handed over first."""
        batch, answers = self._running.popleft()
        messages = [held.value for held in batch]
        results = tag_messages(messages, answers.result(), self._recogniser)
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
