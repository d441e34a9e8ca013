"""Records of Kafka to messages, and dead letters to records of Kafka."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from connectors.dead_letter import DeadLetter, dead_letter
from connectors.errors import Rejected
from connectors.kafka.batches import KafkaRecord
from connectors.kafka.sink import Outgoing
from connectors.message import Message
from connectors.parsing import MessageParser, decode_json
from connectors.wire import decode_message, is_message, read_message

_AHEAD = timedelta(days=1)
"""More than a clock that is wrong, or an item that is dated on the day it may be published."""


class RecordParser:
    """Turns records of one topic into messages or dead letters, each with its coordinates.

    A value is JSON: a `Message` by its schema, else an object with the usual names of fields, as
    MessageParser understands them; `source` (the topic's name by default) names those that name
    none.
    """

    def __init__(
        self,
        topic: str,
        *,
        source: str | None = None,
        mapping: Mapping[str, str] | None = None,
        author_key: bytes | None = None,
    ) -> None:
        self.source = source or topic
        self._parser = MessageParser(source=self.source, mapping=mapping, author_key=author_key)

    @property
    def naive_times(self) -> int:
        """Times so far that gave no zone and were taken as UTC."""
        return self._parser.naive_times

    def parse(self, record: KafkaRecord) -> Message | DeadLetter:
        """The message in `record`, or the dead letter with its original bytes."""
        try:
            return _of_this_time(self._message(record), record)
        except Rejected as error:
            place = f"partition {record.partition}, offset {record.offset}"
            return dead_letter(
                source=self.source,
                stage="parse",
                reason=error.reason,
                error=f"{place}: {error}",
                payload=record.value or b"",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            )

    def _message(self, record: KafkaRecord) -> Message:
        if record.value is None:
            raise Rejected("no-value", "the record has no value (a tombstone)")
        message = read_message(record.value)
        if message is None:
            value = decode_json(record.value)
            if not is_message(value):
                return self._parsed(value, record)
            message = decode_message(value)
        return msgspec.structs.replace(
            message,
            received_at=record.timestamp,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )

    def _parsed(self, value: dict[str, object], record: KafkaRecord) -> Message:
        return self._parser.parse(
            value,
            received_at=record.timestamp,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )


def _of_this_time(message: Message, record: KafkaRecord) -> Message:
    """Raises Rejected for a time that lies far ahead of the record's own.

    One such message would make all that follow it in its partition late.
    """
    if record.timestamp and message.published_at - record.timestamp > _AHEAD:
        raise Rejected(
            "from-the-future",
            f"'published_at' is {message.published_at}, and the record was written at "
            f"{record.timestamp}",
        )
    return message


def dead_letter_record(letter: DeadLetter) -> Outgoing:
    """The original bytes, keyed by the dead letter's id; headers tell the rest."""
    told = {
        "stage": letter.stage,
        "reason": letter.reason,
        "error": letter.error,
        "source": letter.source,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "line": letter.line,
        "payload-size": letter.payload_size,
        "time": datetime.now(UTC).isoformat(),
    }
    headers = tuple(
        (name, str(value).encode()) for name, value in told.items() if value is not None
    )
    return Outgoing(letter.id.encode(), letter.payload, headers)
