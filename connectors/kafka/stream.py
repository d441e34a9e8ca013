"""A range of a topic as a stream of messages, late messages and dead letters, for a replay."""

from collections.abc import Generator, Iterator

from connectors.kafka.places import TopicSpans
from connectors.kafka.reader import TopicReader
from connectors.kafka.records import RecordParser
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import LATE, Item, LateMessage, Lateness, LatenessSettings
from connectors.message import Message


class TopicStream(Iterator[Item]):
    """One partition after the other, so that the order does not depend on how they answer."""

    def __init__(
        self,
        settings: KafkaSettings,
        found: TopicSpans,
        parser: RecordParser,
        lateness: LatenessSettings,
    ) -> None:
        self._settings = settings
        self._topic = found.topic.name
        self._spans = found.spans
        self._parser = parser
        self._lateness = lateness
        self._items: Generator[Item] = self._read()
        self.size = sum((span.end or span.start) - span.start for span in self._spans.values())
        """Offsets in the range; fewer of them may hold a record."""
        self.done = 0
        """Offsets behind us, of `size`."""

    def __next__(self) -> Item:
        return next(self._items)

    @property
    def source(self) -> str:
        """The name given to messages whose record names no source."""
        return self._parser.source

    @property
    def naive_times(self) -> int:
        """Times so far that gave no zone and were taken as UTC."""
        return self._parser.naive_times

    def close(self) -> None:
        """Closes the connection; happens by itself at the end."""
        self._items.close()

    def _read(self) -> Generator[Item]:
        before = 0
        for partition, span in sorted(self._spans.items()):
            lateness = Lateness(self._lateness)
            with TopicReader(self._settings, self._topic, {partition: span}) as reader:
                for record in reader:
                    self.done = before + record.offset + 1 - span.start
                    item: Item = self._parser.parse(record)
                    if isinstance(item, Message) and lateness.late(item.published_at):
                        item = LateMessage(item, lateness.frontier, LATE)
                    yield item
            before += (span.end or span.start) - span.start
            self.done = before
