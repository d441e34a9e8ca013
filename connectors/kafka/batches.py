"""Records out of what Kafka sends, some three times as fast as kafka-python makes them.

The client fetches, checks and uncompresses batches; only the step from a batch to its records is
done here (message format v2; older ones are left to the client). `QuickRecords` stands in for the
class of the same work inside the client (a private one: mind it when the client is upgraded);
tests hold both against each other.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kafka.consumer.fetcher import Fetcher, IsolationLevel
from kafka.errors import CorruptRecordError

_FORMAT = 2
_APPEND_TIME = 1
_YEAR_10000 = 253_402_300_800_000

Headers = tuple[tuple[str, bytes | None], ...]


class KafkaRecord(NamedTuple):
    """One record as it lies in Kafka. `timestamp` is the record's own, not the event time; a
    `value` of None is a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp: datetime | None
    headers: Headers
    key: bytes | None
    value: bytes | None


class QuickRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one fetch of one partition, as KafkaRecord."""

    def _unpack_records(
        self, tp: Any, records: Any, _key_deserializer: Any, _value_deserializer: Any
    ) -> Iterator[KafkaRecord]:
        last = None
        while (batch := records.next_batch()) is not None:
            last = batch
            if not batch.validate_crc():
                raise CorruptRecordError(
                    f"the batch at offset {batch.base_offset} of partition {tp.partition} of "
                    f"{tp.topic!r} fails its checksum"
                )
            self.bytes_read += batch.size_in_bytes
            decoded: Iterator[KafkaRecord]
            if batch.magic != _FORMAT:
                decoded = (_converted(tp, record) for record in batch)
            elif self._readable(batch):
                decoded = _decoded(tp, batch)
            else:
                self.next_fetch_offset = batch.next_offset
                continue
            for record in decoded:
                self.records_read += 1
                self.next_fetch_offset = record.offset + 1
                yield record
        if last and last.magic == _FORMAT:
            # A compacted batch may end before its last offset: the next one begins behind that.
            self.next_fetch_offset = last.next_offset
        self.drain()

    def _readable(self, batch: Any) -> bool:
        """Whether a batch holds records for us: no marks, nothing that was taken back."""
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return False
        return not batch.is_control_batch


def _converted(tp: Any, record: Any) -> KafkaRecord:
    if not record.validate_crc():
        raise CorruptRecordError(f"the record at offset {record.offset} fails its checksum")
    at, headers = _time(record.timestamp), tuple(record.headers)
    return KafkaRecord(tp.topic, tp.partition, record.offset, at, headers, record.key, record.value)


def _decoded(tp: Any, batch: Any) -> Iterator[KafkaRecord]:
    """The records of a batch: https://kafka.apache.org/documentation/#record."""
    iter(batch)  # uncompresses it
    data = bytes(memoryview(batch._buffer)[batch._pos :])
    topic, partition, base = tp.topic, tp.partition, batch.base_offset
    appended = batch.max_timestamp if batch.timestamp_type == _APPEND_TIME else None
    first = batch.first_timestamp
    known, at = None, None
    pos = 0
    for _ in range(batch.records_count):
        length, pos = _varint(data, pos)
        end = pos + length
        later, pos = _varint(data, pos + 1)  # behind the attributes, which mean nothing yet
        delta, pos = _varint(data, pos)
        key, pos = _nullable(data, pos)
        value, pos = _nullable(data, pos)
        count, pos = _varint(data, pos)
        headers: Headers = ()
        if count:
            headers, pos = _headers(data, pos, count)
        if pos != end:
            raise CorruptRecordError(f"the record at offset {base + delta} has a wrong length")
        stamp = first + later if appended is None else appended
        if stamp != known:
            known, at = stamp, _time(stamp)
        yield KafkaRecord(topic, partition, base + delta, at, headers, key, value)
    if pos != len(data):
        raise CorruptRecordError(f"the batch at offset {base} has a wrong length")


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """A number in zigzag encoding, and the place behind it."""
    byte = data[pos]
    pos += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), pos
    number, shift = byte & 0x7F, 7
    while True:
        byte = data[pos]
        pos += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), pos
        shift += 7


def _nullable(data: bytes, pos: int) -> tuple[bytes | None, int]:
    size, pos = _varint(data, pos)
    if size < 0:
        return None, pos
    end = pos + size
    return data[pos:end], end


def _headers(data: bytes, pos: int, count: int) -> tuple[Headers, int]:
    headers = []
    for _ in range(count):
        size, pos = _varint(data, pos)
        name = data[pos : pos + size].decode()
        value, pos = _nullable(data, pos + size)
        headers.append((name, value))
    return tuple(headers), pos


def _time(milliseconds: int | None) -> datetime | None:
    if milliseconds is None or not 0 <= milliseconds < _YEAR_10000:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
