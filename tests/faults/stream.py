"""Real messages as a bad day brings them: out of order, twice, too late, unreadable, and spread
unevenly over partitions of which one is empty and one is silent for a while."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import count, islice
from typing import NamedTuple

from msgspec.structs import replace

from connectors.kafka.client import open_producer
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import LatenessSettings
from connectors.message import Message
from connectors.wire import encode_message
from pipelines.sample import SAMPLE
from pipelines.sources import File, Parsing

_WEEK = timedelta(weeks=1)

PARTITIONS = 4
"""The last one stays empty; the last but one is silent in the middle third."""

_TWICE, _DELAYED, _BROKEN = 0.22, 0.03, 0.001
_DELAYS = (timedelta(minutes=3), timedelta(minutes=30))
_NOT_MORE_THAN = 60
"""Messages that a copy or a straggler is behind, at most."""


class Sent(NamedTuple):
    """One record."""

    partition: int
    key: bytes
    value: bytes


def of_the_sample(wanted: int) -> list[Message]:
    """The sample's first `wanted` messages by event time; past its end the same tweets come again,
    whole weeks later, as messages of their own."""
    stream = File(SAMPLE).stream(Parsing(), None, LatenessSettings())
    messages = [one for one in stream if isinstance(one, Message)]
    messages.sort(key=lambda one: (one.published_at, one.id))
    weeks = (messages[-1].published_at - messages[0].published_at) // _WEEK + 1
    rounds = (
        one if number == 0 else _later(one, number, number * weeks * _WEEK)
        for number in count()
        for one in messages
    )
    return list(islice(rounds, wanted))


def _later(message: Message, number: int, by: timedelta) -> Message:
    later = message.published_at + by
    return replace(message, id=f"{message.id}:again-{number}", published_at=later)


def disturbed(messages: Sequence[Message], seed: int) -> list[Sent]:
    """Records of `messages`, which come by event time; the same for the same `seed`."""
    chance = random.Random(seed)
    waiting: dict[int, list[tuple[int, Message]]] = defaultdict(list)
    sent: list[Sent] = []
    for number, message in enumerate(messages):
        partition = _partition(chance, number / len(messages))
        for due, straggler in list(waiting[partition]):
            late = message.published_at - straggler.published_at
            if number >= due or late > chance.choice(_DELAYS):
                waiting[partition].remove((due, straggler))
                sent.append(_record(partition, straggler))
        if chance.random() < _BROKEN:
            sent.append(Sent(partition, b"broken", b"{broken \xff" + str(number).encode()))
        if chance.random() < _DELAYED:
            waiting[partition].append((number + _NOT_MORE_THAN, message))
            continue
        sent.append(_record(partition, message))
        if chance.random() < _TWICE:
            waiting[partition].append((number + chance.randrange(_NOT_MORE_THAN), message))
    rest = [(part, one) for part, held in sorted(waiting.items()) for _, one in held]
    return sent + [_record(partition, message) for partition, message in rest]


def _partition(chance: random.Random, progress: float) -> int:
    partition = chance.choices((0, 1, 2), weights=(6, 3, 1))[0]
    return 0 if partition == 2 and 1 / 3 < progress < 2 / 3 else partition


def _record(partition: int, message: Message) -> Sent:
    return Sent(partition, message.id.encode(), encode_message(message))


def send(settings: KafkaSettings, topic: str, records: Iterable[Sent]) -> Iterator[int]:
    """Writes the records, each to its partition, and tells how many are confirmed."""
    producer = open_producer(settings, delivery_timeout_ms=300_000, request_timeout_ms=10_000)
    done = 0
    under_way = []
    for record in records:
        under_way.append(
            producer.send(topic, record.value, key=record.key, partition=record.partition)
        )
        if len(under_way) >= 200:
            done += _confirmed(under_way)
            yield done
    yield done + _confirmed(under_way)
    producer.close()


def _confirmed(under_way: list[object]) -> int:
    count = len(under_way)
    for one in under_way:
        one.get(timeout=330)  # type: ignore[attr-defined]
    under_way.clear()
    return count
