"""Places in a topic as people name them, and the offsets that they mean."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from kafka import TopicPartition

from connectors.errors import BrokerError, KafkaSettingsError
from connectors.kafka.batches import KafkaRecord
from connectors.kafka.client import explained, open_consumer
from connectors.kafka.reader import Span, TopicReader
from connectors.kafka.records import RecordParser
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import Topic, describe_topic
from connectors.message import Message
from connectors.times import TimeError, parse_time


class Group(NamedTuple):
    """Where a consumer group has committed; the earliest where it has not."""

    name: str


class Offsets(NamedTuple):
    """Partition -> offset. Partitions that are not named are left out."""

    of: Mapping[int, int]


Place = Literal["earliest", "latest"] | datetime | Offsets | Group
"""A time means the first message whose event time is not before it."""

_GROUP = "group:"
_SKEW = timedelta(minutes=1)
"""How far the clocks of those who publish and those who send may be apart."""

_LOOKED_AT = 20


def parse_place(text: str) -> Place:
    """`earliest`, `latest`, a time, `PARTITION:OFFSET,…` or `group:NAME`, as it is given on the
    command line; raises KafkaSettingsError."""
    match text.strip():
        case "earliest":
            return "earliest"
        case "latest":
            return "latest"
        case named if named.startswith(_GROUP) and len(named) > len(_GROUP):
            return Group(named.removeprefix(_GROUP))
        case other:
            return _offsets(other) or _time(other)


def _offsets(text: str) -> Offsets | None:
    pairs = [pair.partition(":") for pair in text.split(",")]
    if not all(part.isdecimal() and offset.isdecimal() for part, _, offset in pairs):
        return None
    return Offsets({int(part): int(offset) for part, _, offset in pairs})


def _time(text: str) -> datetime:
    try:
        return parse_time(text).at
    except TimeError as error:
        raise KafkaSettingsError(
            f"{text!r} is no place in a topic: write earliest, latest, a time, "
            "PARTITION:OFFSET,… or group:NAME"
        ) from error


class TopicSpans(NamedTuple):
    """The offsets to read of a topic: partition -> Span with an end."""

    topic: Topic
    spans: dict[int, Span]


def locate(
    settings: KafkaSettings,
    topic: str,
    start: Place,
    end: Place,
    parser: RecordParser | None = None,
) -> TopicSpans:
    """The offsets between `start` and `end` as they are now; raises BrokerError.

    An offset that the topic does not have is an error; a range between times may be empty.
    `parser` finds the event time of a record, where a place is a time.
    """
    described = describe_topic(settings, topic)
    partitions = [TopicPartition(topic, number) for number in described.partitions]
    with _asking(settings) as consumer:
        first = consumer.beginning_offsets(partitions)
        last = consumer.end_offsets(partitions)
        topic_ends = _Ends(topic, first, last)
        starts = _resolved(settings, consumer, start, topic_ends, parser)
        ends = _resolved(settings, consumer, end, topic_ends, parser)
    spans = {}
    for partition in partitions:
        if partition not in starts or partition not in ends:
            continue
        for offset in (starts[partition], ends[partition]):
            if not first[partition] <= offset <= last[partition]:
                raise BrokerError(
                    f"partition {partition.partition} of {topic!r} holds the offsets "
                    f"{first[partition]} to {last[partition]}, and not {offset}"
                )
        begin = starts[partition]
        spans[partition.partition] = Span(begin, max(begin, ends[partition]))
    return TopicSpans(described, spans)


@contextmanager
def _asking(settings: KafkaSettings, group: str | None = None) -> Iterator[Any]:
    consumer = open_consumer(settings, group_id=group)
    try:
        with explained(settings):
            yield consumer
    finally:
        consumer.close(autocommit=False)


class _Ends(NamedTuple):
    """TopicPartition -> the first offset that a topic holds, and the one behind the last."""

    topic: str
    first: Mapping[Any, int]
    last: Mapping[Any, int]


def _resolved(
    settings: KafkaSettings,
    consumer: Any,
    place: Place,
    ends: _Ends,
    parser: RecordParser | None,
) -> Mapping[Any, int]:
    topic, first, last = ends
    match place:
        case "earliest":
            return first
        case "latest":
            return last
        case Offsets(of):
            if unknown := sorted(of.keys() - {part.partition for part in first}):
                raise BrokerError(f"the topic has no partition {unknown[0]}")
            return {part: of[part.partition] for part in first if part.partition in of}
        case Group(name):
            with _asking(settings, name) as member:
                found = {part: member.committed(part) for part in first}
            return {part: first[part] if at is None else at for part, at in found.items()}
        case datetime():
            times = _Times(settings, topic, parser or RecordParser(topic))
            by_then = max(0, round((place - _SKEW).timestamp() * 1000))
            stamped = consumer.offsets_for_times(dict.fromkeys(first, by_then))
            return {
                part: times.first_from(
                    place,
                    part.partition,
                    Span(first[part], last[part]),
                    last[part] if at is None else at.offset,
                )
                for part, at in stamped.items()
            }


class _Times:
    """Finds messages by their event time.

    No message is sent before it is published, so in a topic whose records say when they were sent
    none of a time lies before the first record of that time, and the search begins there. A topic
    whose records say otherwise is searched from its beginning.
    """

    def __init__(self, settings: KafkaSettings, topic: str, parser: RecordParser) -> None:
        self._settings = settings
        self._topic = topic
        self._parser = parser

    def first_from(self, time: datetime, partition: int, whole: Span, stamped: int) -> int:
        """The offset of the first message published at `time` or later, the end of `whole` where
        there is none. `stamped`: of the first record that was sent by then, as it says."""
        _, end = whole
        start = stamped if self._honest(partition, whole) else whole.start
        for record, message in self._messages(partition, Span(start, end)):
            if message.published_at >= time:
                return record.offset
        return end or start

    def _honest(self, partition: int, whole: Span) -> bool:
        """Whether the first and the last records say that they were sent after publication."""
        start, end = whole
        last = max(start, (end or start) - _LOOKED_AT)
        looked_at = [
            record.timestamp is not None and message.published_at <= record.timestamp + _SKEW
            for span in (Span(start, min(start + _LOOKED_AT, last)), Span(last, end))
            for record, message in self._messages(partition, span)
        ]
        return bool(looked_at) and all(looked_at)

    def _messages(self, partition: int, span: Span) -> Iterator[tuple[KafkaRecord, Message]]:
        with TopicReader(self._settings, self._topic, {partition: span}) as reader:
            for record in reader:
                message = self._parser.parse(record)
                if isinstance(message, Message):
                    yield record, message
