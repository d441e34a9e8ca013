"""The records of ranges of offsets: bounded, resumable, with a bounded buffer.

One reader serves a replay (all of a range) and a splittable DoFn (a poll at a time).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.errors import OffsetOutOfRangeError

from connectors.closing import Closing
from connectors.errors import BrokerError
from connectors.kafka.batches import KafkaRecord, QuickRecords
from connectors.kafka.client import explained, open_consumer
from connectors.kafka.settings import KafkaSettings

_POLL_SECONDS = 0.5
_RECORDS_AT_ONCE = 500
_LOOK_SECONDS = 300.0
_ANSWER_MS = 3_000
_BUFFER_BYTES = 16 << 20
_PARTITION_BYTES = 2 << 20


class Span(NamedTuple):
    """Offsets of one partition: from `start` up to and without `end`; None: for ever."""

    start: int
    end: int | None


class TopicReader(Closing):
    """The records of `spans` (partition -> Span), by offset within each partition.

    Iterate over it, or `poll`; close it, or use it as a context manager. What is fetched ahead is
    at most some 16 MB for each broker; nothing is fetched of a partition whose records wait to be
    taken. Raises BrokerError: where the offsets are not there (any more), where the broker refuses,
    and when iterating also where it is silent before the end for `settings.stall_seconds`.
    `look_seconds`: how often the broker is asked which partitions the topic has.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        spans: Mapping[int, Span],
        *,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._spans: dict[int, Span] = {}
        self._positions: dict[int, int] = {}
        self._consumer = open_consumer(
            settings,
            group_id=None,
            max_poll_records=_RECORDS_AT_ONCE,
            fetch_max_bytes=_BUFFER_BYTES,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            metadata_max_age_ms=round(look_seconds * 1000),
        )
        self._consumer._fetcher.PartitionRecords = QuickRecords
        self.add(spans)

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close(autocommit=False)

    @property
    def done(self) -> bool:
        """Whether all is read; never where a span has no end."""
        return not self._open()

    def position(self, partition: int) -> int:
        """The offset to go on from: all below it was given. Offsets are not dense: a compacted
        topic has holes, and the marks of transactions take offsets too."""
        return self._positions[partition]

    def add(self, spans: Mapping[int, Span]) -> None:
        """Reads more partitions from now on; nothing changes for those that are read already."""
        self._spans |= spans
        self._positions |= {partition: span.start for partition, span in spans.items()}
        self._consumer.assign(self._partitions(self._open()))
        for partition in spans.keys() & set(self._open()):
            at = TopicPartition(self._topic, partition)
            self._consumer.seek(at, self._positions[partition])

    def partitions(self) -> set[int]:
        """The partitions that the topic has, as of the last look."""
        with explained(self._settings):
            return set(self._consumer.partitions_for_topic(self._topic))

    def beginnings(self, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset of each partition; asks the broker. Raises BrokerAway."""
        return self._asked(self._consumer.beginning_offsets, partitions)

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset behind the last committed record; asks the broker. Raises BrokerAway."""
        return self._asked(self._consumer.end_offsets, partitions)

    def lag(self, partition: int) -> int:
        """Offsets that were there when the partition was last fetched, and are not read yet."""
        if partition not in self._open():
            return 0
        end = self._consumer.highwater(TopicPartition(self._topic, partition))
        return max(0, (end or 0) - self._positions[partition])

    def poll(self, seconds: float) -> list[KafkaRecord]:
        """The next records, after at most `seconds`; none where there are none yet."""
        records, after = self._fetch(seconds)
        self._move(after)
        return records

    def __iter__(self) -> Iterator[KafkaRecord]:
        deadline = self._deadline()
        while not self.done:
            before = dict(self._positions)
            records, after = self._fetch(_POLL_SECONDS)
            for record in records:
                self._positions[record.partition] = record.offset + 1
                yield record
            self._move(after)
            if self._positions != before:
                deadline = self._deadline()
            elif time.monotonic() > deadline:
                raise self._stalled()

    def _open(self) -> list[int]:
        return [
            partition
            for partition, span in self._spans.items()
            if span.end is None or self._positions[partition] < span.end
        ]

    def _partitions(self, numbers: Iterable[int]) -> list[Any]:
        return [TopicPartition(self._topic, number) for number in numbers]

    def _asked(self, ask: Callable[..., dict[Any, int]], numbers: Iterable[int]) -> dict[int, int]:
        with explained(self._settings):
            found = ask(self._partitions(numbers), timeout_ms=_ANSWER_MS)
        return {partition.partition: offset for partition, offset in found.items()}

    def _fetch(self, seconds: float) -> tuple[list[KafkaRecord], dict[int, int]]:
        """The next records, and where each partition stands behind them."""
        partitions = self._partitions(self._open())
        if not partitions:
            return [], {}
        try:
            with explained(self._settings):
                found = self._consumer.poll(timeout_ms=round(seconds * 1000))
                after = {
                    part.partition: self._consumer.position(part, timeout_ms=_ANSWER_MS)
                    for part in partitions
                }
        except BrokerError as error:
            if isinstance(error.__cause__, OffsetOutOfRangeError):
                raise self._out_of_range(error.__cause__) from error
            raise
        records = [
            record
            for held in found.values()
            for record in held
            if self._within(record.partition, record.offset)
        ]
        return records, after

    def _within(self, partition: int, offset: int) -> bool:
        end = self._spans[partition].end
        return end is None or offset < end

    def _move(self, after: Mapping[int, int]) -> None:
        for partition, position in after.items():
            end = self._spans[partition].end
            if end is None or position < end:
                self._positions[partition] = position
            else:
                self._positions[partition] = end
                self._consumer.pause(TopicPartition(self._topic, partition))

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.stall_seconds

    def _stalled(self) -> BrokerError:
        partition = self._open()[0]
        end = self._spans[partition].end
        until = "" if end is None else f", though it goes up to {end}"
        return BrokerError(
            f"Kafka at {self._settings.brokers} gave nothing for {self._settings.stall_seconds:g} s"
            f" at offset {self._positions[partition]} of partition {partition} of "
            f"{self._topic!r}{until}: check the broker; the same command goes on from here"
        )

    def _out_of_range(self, error: OffsetOutOfRangeError) -> BrokerError:
        places = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        where = ", ".join(f"{at} of partition {part.partition}" for part, at in places.items())
        return BrokerError(
            f"the topic {self._topic!r} does not hold the offset {where or 'asked for'} (any "
            "more): its retention has removed it, or the topic was made anew; start at the earliest"
        )
