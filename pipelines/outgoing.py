"""What the pipeline writes into Kafka: tagged messages, spikes and dead letters.

Keys are ids, and ids are functions of the input: a record that is written twice is the same record.
"""

from collections.abc import Iterable

import msgspec

from alerting.spike import Spike
from connectors.dead_letter import DeadLetter
from connectors.kafka.records import dead_letter_record
from connectors.kafka.settings import TopicNames
from connectors.kafka.sink import KafkaSink, Outgoing
from pipelines.records import Tagged


class Publisher:
    """Sends results to their topics; they are safe when `flush` of the sink has returned."""

    def __init__(self, sink: KafkaSink, topics: TopicNames) -> None:
        self._sink = sink
        self._topics = topics

    def tagged(self, results: Iterable[Tagged]) -> None:
        """Messages with their tags, keyed by the message's id."""
        for result in results:
            key = result.message.id.encode()
            self._sink.send(self._topics.tagged, Outgoing(key, msgspec.json.encode(result)))

    def spikes(self, spikes: Iterable[Spike]) -> None:
        """Spikes, keyed by their id."""
        for spike in spikes:
            record = Outgoing(spike.id.encode(), msgspec.json.encode(spike))
            self._sink.send(self._topics.spikes, record)

    def dead_letters(self, letters: Iterable[DeadLetter]) -> None:
        """The original bytes, keyed by the dead letter's id, with the reason in the headers."""
        for letter in letters:
            self._sink.send(self._topics.dead_letters, dead_letter_record(letter))
