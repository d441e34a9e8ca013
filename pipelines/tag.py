"""*Tag*: messages in, the same messages with entities, topic and sentiment out, in arrival order.

Nothing here waits for event time. The transform is stateless: deduplication stands before it.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from connectors.dead_letter import DeadLetter
from connectors.message import Message
from models.entities import Recogniser
from pipelines.configuration import TagSettings
from pipelines.metrics.instruments import metrics
from pipelines.records import Tagged
from pipelines.tagging import Result, TagBatch, tag_messages
from pipelines.telemetry import journey

DEAD_LETTERS = "dead_letters"
TAGGED = "tagged"

_BATCHES_AT_ONCE = 2

_Running = tuple[list[WindowedValue], Future[list[Result]]]


class TagMessages(beam.DoFn):
    """Collects batches within a bundle, and gives each result its message's own timestamp back.

    While the model works on one batch, the next is made ready: no core waits at the end of one.
    """

    def __init__(self, settings: TagSettings, tag: TagBatch) -> None:
        self._settings = settings
        self._tag_batch = tag

    def setup(self) -> None:
        self._tagger = self._settings.tagger()
        self._recogniser = Recogniser.default()
        metrics().model_loaded(self._tagger.identity, self._tagger.config)
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
        tagging = self._model.submit(self._tag, messages)
        self._running.append((self._batch, tagging))
        self._batch = []

    def _tag(self, messages: list[Message]) -> list[Result]:
        started, began = time.monotonic(), journey.now()
        results = self._tag_batch(messages, self._tagger, self._recogniser)
        metrics().tagged(results, time.monotonic() - started)
        journey.tagged(results, began)
        return results

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

    def __init__(self, settings: TagSettings, tag: TagBatch = tag_messages) -> None:
        super().__init__()
        self._settings = settings
        self._tag = tag

    def expand(self, messages: PCollection[Message]) -> Any:
        return messages | "Tag messages" >> beam.ParDo(
            TagMessages(self._settings, self._tag)
        ).with_output_types(Tagged, **{DEAD_LETTERS: DeadLetter}).with_outputs(
            DEAD_LETTERS, main=TAGGED
        )
