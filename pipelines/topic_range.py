"""A range of a Kafka topic as the source of a replay."""

from dataclasses import dataclass
from typing import Any

from connectors.kafka.places import TopicSpans
from connectors.kafka.records import RecordParser
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.stream import TopicStream
from connectors.lateness import LatenessSettings
from pipelines.sources import Parsing, Stream


@dataclass(frozen=True)
class TopicRange:
    """A range of offsets of a topic; `connectors.kafka.places.locate` finds it."""

    settings: KafkaSettings
    found: TopicSpans

    def describe(self) -> dict[str, Any]:
        """The topic's id tells it from one that was made anew under its name, in any cluster."""
        topic, spans = self.found
        offsets = {str(partition): [*span] for partition, span in sorted(spans.items())}
        return {"name": topic.name, "topic_id": topic.id, "offsets": offsets}

    def stream(
        self, parsing: Parsing, author_key: bytes | None, lateness: LatenessSettings
    ) -> Stream:
        parser = record_parser(self.found.topic.name, parsing, author_key)
        return TopicStream(self.settings, self.found, parser, lateness)


def record_parser(topic: str, parsing: Parsing, author_key: bytes | None) -> RecordParser:
    """What makes messages of the records of a topic."""
    return RecordParser(
        topic, source=parsing.source, mapping=parsing.mapping, author_key=author_key
    )
