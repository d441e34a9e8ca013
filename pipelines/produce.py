"""History played into Kafka against its event time, as if it happened now."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from connectors.dead_letter import DeadLetter
from connectors.kafka.records import dead_letter_record
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.sink import KafkaSink, Outgoing
from connectors.lateness import LateMessage, LatenessSettings
from connectors.message import Message
from connectors.sorting import sorted_messages
from connectors.wire import encode_message
from pipelines.sources import Parsing, Reading, Source, Stream, WatchingReading

_LONGEST_SLEEP = 0.2
_TOGETHER = 1000  # records between two looks at the progress


class Producing(WatchingReading, Protocol):
    """Who wants to know how far it is."""

    def producing(self, sent: int, total: int, at: datetime) -> None: ...


class ProduceResult(msgspec.Struct):
    """`messages` of `total` and `dead_letters` are confirmed by the broker; `reached`: event time
    of the last message sent."""

    topic: str
    total: int = 0
    messages: int = 0
    dead_letters: int = 0
    reached: datetime | None = None
    seconds: float = 0.0
    interrupted: bool = False
    truncated: str | None = None


def paced(
    messages: Iterable[Message],
    speed: float,
    *,
    waiting: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Message]:
    """Messages in order of event time, each when its turn comes: `speed` seconds of event time a
    second; 0 for as fast as possible. `waiting` is called before every wait."""
    first: datetime | None = None
    started = clock()
    for message in messages:
        if speed:
            first = first or message.published_at
            due = started + (message.published_at - first).total_seconds() / speed
            if due > clock():
                waiting()
            while (left := due - clock()) > 0:
                sleep(min(left, _LONGEST_SLEEP))
        yield message


def produce(
    sources: Sequence[Source],
    settings: KafkaSettings,
    topic: str,
    *,
    dead_letters: str,
    speed: float,
    parsing: Parsing,
    author_key: bytes | None,
    watching: Producing,
) -> ProduceResult:
    """Sends all messages to `topic` by event time, keyed by id, and waits until they are safe.

    What cannot be read goes to the topic `dead_letters`. A Ctrl-C ends it early: the result says
    so, and counts what was confirmed. Raises SourceError, BrokerError.
    """
    return _Production(
        [source.stream(parsing, author_key, LatenessSettings()) for source in sources],
        settings,
        dead_letters,
        watching,
        ProduceResult(topic),
    ).run(speed)


@dataclass
class _Production:
    streams: Sequence[Stream]
    settings: KafkaSettings
    dead_letters: str
    watching: Producing
    result: ProduceResult

    def run(self, speed: float) -> ProduceResult:
        started = time.monotonic()
        with KafkaSink(self.settings) as sink:
            try:
                with sorted_messages(self._readable(sink)) as ordered:
                    sink.flush()
                    self._send(sink, paced(ordered, speed, waiting=sink.flush))
            except KeyboardInterrupt:
                self.result.interrupted = True
            sink.flush()
            self.result.messages = sink.delivered - self.result.dead_letters
        self.result.seconds = round(time.monotonic() - started, 3)
        return self.result

    def _send(self, sink: KafkaSink, messages: Iterable[Message]) -> None:
        for number, message in enumerate(messages, start=1):
            sink.send(self.result.topic, Outgoing(message.id.encode(), encode_message(message)))
            self.result.reached = message.published_at
            if number % _TOGETHER == 0 or number == self.result.total:
                self.watching.producing(number, self.result.total, message.published_at)

    def _readable(self, sink: KafkaSink) -> Iterator[Message]:
        reading = Reading(self.streams, self.watching)
        try:
            for record in reading:
                if isinstance(record, DeadLetter):
                    sink.send(self.dead_letters, dead_letter_record(record))
                    self.result.dead_letters += 1
                else:
                    self.result.total += 1
                    yield record.message if isinstance(record, LateMessage) else record
        finally:
            self.result.truncated = reading.truncated
