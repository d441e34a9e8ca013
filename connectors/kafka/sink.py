"""Records into Kafka: at least once, and never more under way than fits into a bounded buffer."""

from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple

from kafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RetriableError,
)

from connectors.closing import Closing
from connectors.errors import BrokerAway, BrokerError
from connectors.kafka.client import explanation, open_producer
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import describe_topic

_LINGER_MS = 20
_BATCH_BYTES = 128 << 10
_BUFFER_BYTES = 16 << 20
_RECORD_OVERHEAD = 500
_NO_LIMIT = 1 << 30
"""The size of a record is the broker's to judge."""


class Outgoing(NamedTuple):
    """A record to be sent. Its key decides its partition: the same key, the same partition."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class _UnderWay(NamedTuple):
    topic: str
    key: bytes
    size: int
    answer: Any


class KafkaSink(Closing):
    """Sends records; close it, or use it as a context manager (which flushes where all went well).

    What `flush` has returned for is in all replicas in sync. The producer is idempotent: a retry
    inside it writes no second copy; a program that is killed and started again does, under the
    same key. Raises BrokerError where a topic is missing, a record is refused, or the broker is
    away for longer than `settings.stall_seconds`; `delivered` counts what is safe by then.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.delivered = 0
        self._settings = settings
        self._topics: set[str] = set()
        self._under_way: deque[_UnderWay] = deque()
        self._bytes = 0
        stall = round(settings.stall_seconds * 1000)
        self._producer = open_producer(
            settings,
            linger_ms=_LINGER_MS,
            batch_size=_BATCH_BYTES,
            max_request_size=_NO_LIMIT,
            delivery_timeout_ms=stall,
            request_timeout_ms=min(30_000, stall - _LINGER_MS),
            max_block_ms=stall,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    def send(self, topic: str, record: Outgoing) -> None:
        """Takes a record; waits where too many are under way."""
        if topic not in self._topics:
            describe_topic(self._settings, topic)
            self._topics.add(topic)
        size = len(record.key) + len(record.value) + _RECORD_OVERHEAD
        while self._under_way and (
            self._bytes + size > _BUFFER_BYTES or self._under_way[0].answer.is_done
        ):
            self._settle()
        try:
            answer = self._producer.send(
                topic, record.value, key=record.key, headers=list(record.headers)
            )
        except KafkaError as error:
            raise self._failed(topic, record.key, error) from error
        self._under_way.append(_UnderWay(topic, record.key, size, answer))
        self._bytes += size

    def flush(self) -> None:
        """Waits until the broker has confirmed all that was sent."""
        with suppress(KafkaTimeoutError):  # of which the first record's answer tells
            self._producer.flush(self._settings.stall_seconds)
        while self._under_way:
            self._settle()

    def close(self) -> None:
        """Closes the connection; what was not flushed is given up."""
        try:
            self._producer.close(timeout=0)
        except KafkaTimeoutError:
            # What is under way makes it stop half closed: its thread would go on sending.
            self._producer._sender.force_close()

    def _settle(self) -> None:
        first = self._under_way.popleft()
        self._bytes -= first.size
        try:
            # The producer itself gives up before this; one second is for its telling us.
            first.answer.get(timeout=self._settings.stall_seconds + 1)
        except KafkaError as error:
            raise self._failed(first.topic, first.key, error) from error
        self.delivered += 1

    def _failed(self, topic: str, key: bytes, error: KafkaError) -> BrokerError:
        named = key.decode("utf-8", "backslashreplace")
        if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
            return BrokerError(
                f"the record {named!r} is larger than the topic {topic!r} takes: raise its "
                "max.message.bytes"
            )
        if isinstance(error, KafkaTimeoutError):
            return BrokerAway(
                f"Kafka at {self._settings.brokers} did not confirm a record for {topic!r} within "
                f"{self._settings.stall_seconds:g} s: check the broker"
            )
        kind = BrokerAway if isinstance(error, RetriableError) else BrokerError
        return kind(f"{topic!r}: {explanation(self._settings, error)}")
