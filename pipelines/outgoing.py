"""What the live job writes into Kafka: tagged messages, buckets, spikes and dead letters.

Keys are ids, and ids are functions of the input: a record that is written twice is the same record.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter

import msgspec

from alerting.spike import Spike
from alerting.windows import WindowStats
from connectors.dead_letter import DeadLetter, dead_letter
from connectors.errors import BrokerAway, BrokerError
from connectors.kafka.records import dead_letter_record
from connectors.kafka.settings import KafkaSettings, TopicNames
from connectors.kafka.sink import KafkaSink, Outgoing
from pipelines.records import Tagged

Addressed = tuple[str, Outgoing]
"""A topic, and a record for it."""

_WAIT = 2.0

_log = logging.getLogger(__name__)


def tagged_records(topics: TopicNames, results: Iterable[Tagged]) -> Iterator[Addressed]:
    """Messages with their tags, keyed by the message's id."""
    for result in results:
        yield (
            topics.tagged,
            Outgoing(result.message.id.encode(), msgspec.json.encode(result)),
        )


def bucket_records(topics: TopicNames, windows: Iterable[WindowStats]) -> Iterator[Addressed]:
    """Buckets, keyed by their primary key; of two with the same key the final one stands."""
    for one in windows:
        key = (one.configuration, one.key, one.seconds, one.start)
        yield topics.buckets, Outgoing(msgspec.json.encode(key), msgspec.json.encode(one))


def spike_records(topics: TopicNames, spikes: Iterable[Spike]) -> Iterator[Addressed]:
    """Spikes, keyed by their id."""
    for spike in spikes:
        yield topics.spikes, Outgoing(spike.id.encode(), msgspec.json.encode(spike))


def dead_letter_records(topics: TopicNames, letters: Iterable[DeadLetter]) -> Iterator[Addressed]:
    """The original bytes, keyed by the dead letter's id, with the reason in the headers."""
    for letter in letters:
        yield topics.dead_letters, dead_letter_record(letter)


class Publisher:
    """Writes records, patiently; travels in a graph. Without `settings` it writes nothing.

    The connections are the process's own.
    """

    def __init__(
        self, settings: KafkaSettings | None, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._settings = settings
        self._sleep = sleep

    def publish(self, records: Callable[[TopicNames], Iterable[Addressed]]) -> Sequence[DeadLetter]:
        """Writes them all, and waits for a broker that is away. What the broker will not take comes
        back, with the reason."""
        if self._settings is None:
            return ()
        refused: list[DeadLetter] = []
        for _, batch in groupby(records(self._settings.topics), key=itemgetter(0)):
            refused += self._written(self._settings, list(batch))
        return refused

    def _written(self, settings: KafkaSettings, batch: Sequence[Addressed]) -> Sequence[DeadLetter]:
        """Of one topic."""
        while True:
            try:
                _sending(settings, batch[0][0]).send(batch)
            except BrokerAway as error:
                _log.warning("Kafka is away, trying again in %g s: %s", _WAIT, error)
                self._sleep(_WAIT)
            except BrokerError as error:
                if len(batch) == 1:
                    return [_refused(*batch[0], error)]
                return [letter for one in batch for letter in self._written(settings, [one])]
            else:
                return ()


class _Sending:
    """The process's connection for one topic: the many buckets of a minute hold up no message."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._sink: KafkaSink | None = None

    def send(self, batch: Iterable[Addressed]) -> None:
        with self._lock:
            sink = self._sink = self._sink or KafkaSink(self._settings)
            try:
                for topic, record in batch:
                    sink.send(topic, record)
                sink.flush()
            except BaseException:
                self._sink = None  # what it still holds is of this batch, and will be sent again
                sink.close()
                raise


@cache
def _sending(settings: KafkaSettings, topic: str) -> _Sending:
    return _Sending(settings)


def _refused(topic: str, record: Outgoing, error: BrokerError) -> DeadLetter:
    return dead_letter(
        source=topic,
        stage="publish",
        reason="refused",
        error=str(error),
        payload=record.value,
        topic=topic,
    )
