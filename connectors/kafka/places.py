"""Places in a topic as people name them, and the offsets that they mean."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal, NamedTuple

from kafka import TopicPartition

from connectors.errors import BrokerError, KafkaSettingsError
from connectors.kafka.client import explained, open_consumer
from connectors.kafka.reader import Span
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import Topic, describe_topic
from connectors.times import TimeError, parse_time


class Group(NamedTuple):
    """Where a consumer group has committed; the earliest where it has not."""

    name: str


class Offsets(NamedTuple):
    """Partition -> offset. Partitions that are not named are left out."""

    of: Mapping[int, int]


Place = Literal["earliest", "latest"] | datetime | Offsets | Group
"""A time means the first record whose own timestamp is not before it."""

_GROUP = "group:"


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


def locate(settings: KafkaSettings, topic: str, start: Place, end: Place) -> TopicSpans:
    """The offsets between `start` and `end` as they are now; raises BrokerError.

    An offset that the topic does not have is an error; a range between times may be empty.
    """
    described = describe_topic(settings, topic)
    partitions = [TopicPartition(topic, number) for number in described.partitions]
    with _asking(settings) as consumer:
        first = consumer.beginning_offsets(partitions)
        last = consumer.end_offsets(partitions)
        starts = _resolved(settings, consumer, start, first, last)
        ends = _resolved(settings, consumer, end, first, last)
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


def _resolved(
    settings: KafkaSettings,
    consumer: Any,
    place: Place,
    first: Mapping[Any, int],
    last: Mapping[Any, int],
) -> Mapping[Any, int]:
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
            asked = dict.fromkeys(first, round(place.timestamp() * 1000))
            times = consumer.offsets_for_times(asked)
            return {part: last[part] if at is None else at.offset for part, at in times.items()}
