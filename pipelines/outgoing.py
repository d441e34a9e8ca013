"""What the live job writes into Kafka: tagged messages, buckets, spikes and dead letters.

Keys are ids, and ids are functions of the input: a record that is written twice is the same record.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

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

    The connection is the process's own.
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
        return self._written(self._settings, list(records(self._settings.topics)))

    def _written(self, settings: KafkaSettings, batch: Sequence[Addressed]) -> Sequence[DeadLetter]:
        while True:
            try:
                _send(settings, batch)
            except BrokerAway as error:
                _log.warning("Kafka is away, trying again in %g s: %s", _WAIT, error)
                self._sleep(_WAIT)
            except BrokerError as error:
                if len(batch) == 1:
                    return [_refused(*batch[0], error)]
                return [letter for one in batch for letter in self._written(settings, [one])]
            else:
                return ()


_sending = threading.Lock()


@cache
def _sink(settings: KafkaSettings) -> KafkaSink:
    return KafkaSink(settings)


def _send(settings: KafkaSettings, batch: Iterable[Addressed]) -> None:
    with _sending:
        sink = _sink(settings)
        try:
            for topic, record in batch:
                sink.send(topic, record)
            sink.flush()
        except BaseException:
            _sink.cache_clear()  # what it still holds is of this batch, and will be sent again
            sink.close()
            raise


def _refused(topic: str, record: Outgoing, error: BrokerError) -> DeadLetter:
    return dead_letter(
        source=topic,
        stage="publish",
        reason="refused",
        error=str(error),
        payload=record.value,
        topic=topic,
    )
