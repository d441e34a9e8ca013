"""Records decoded here are those that kafka-python decodes, whatever a broker sends."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.util import encode_varint

from connectors.kafka.batches import KafkaRecord, _converted, _decoded, _varint
from connectors.kafka.client import open_producer
from connectors.kafka.settings import KafkaSettings
from tests.servers.kafka import read

BYTES = st.binary(max_size=300)
RECORDS = st.lists(
    st.tuples(
        st.integers(0, 4_000_000_000_000),
        st.none() | BYTES,
        st.none() | BYTES,
        st.lists(st.tuples(st.text(max_size=9), st.none() | BYTES), max_size=3),
    ),
    min_size=1,
    max_size=9,
)
PARTITION = TopicPartition("news", 3)


def batch(records: list[Any], codec: int) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for number, (timestamp, key, value, headers) in enumerate(records):
        builder.append(number, timestamp, key, value, headers)
    return bytes(builder.build())


@given(RECORDS, st.sampled_from([0, 1, 3, 4]))
def test_a_batch_gives_what_the_client_makes_of_it(records: list[Any], codec: int) -> None:
    data = batch(records, codec)
    theirs = [_converted(PARTITION, record) for record in DefaultRecordBatch(data)]
    assert list(_decoded(PARTITION, DefaultRecordBatch(data))) == theirs
    assert [one.value for one in theirs] == [value for _, _, value, _ in records]


@given(st.integers(-(2**62), 2**62))
def test_a_number_is_read_as_it_is_written(number: int) -> None:
    data = bytearray()
    encode_varint(number, data.append)
    assert _varint(bytes(data), 0) == (number, len(data))


@pytest.mark.parametrize("codec", [None, "gzip", "lz4", "zstd"])
def test_a_topic_is_read_as_the_client_reads_it(
    codec: str | None, kafka_settings: KafkaSettings, topic: str
) -> None:
    generator = random.Random(7)
    producer = open_producer(kafka_settings, compression_type=codec, linger_ms=50)
    for number in range(300):
        producer.send(
            topic,
            None if number % 50 == 0 else generator.randbytes(number),
            key=None if number % 3 and number % 50 else str(number).encode(),
            headers=[("origin", b"a"), ("näme", b"")] if number % 4 == 0 else [],
            timestamp_ms=1_700_000_000_000 + number,
            partition=0,
        )
    producer.flush()
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=kafka_settings.addresses)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    theirs: list[Any] = []
    while len(theirs) < 300:
        theirs += [one for held in consumer.poll(1000).values() for one in held]
    consumer.close()
    ours = [plain(one) for one in read(kafka_settings, topic)]
    assert ours == [
        (one.offset, one.timestamp, tuple(one.headers), one.key, one.value) for one in theirs
    ]


def plain(record: KafkaRecord) -> tuple[Any, ...]:
    assert record.timestamp
    milliseconds = round(record.timestamp.timestamp() * 1000)
    return record.offset, milliseconds, record.headers, record.key, record.value
