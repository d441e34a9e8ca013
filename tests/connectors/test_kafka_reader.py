"""Records come back from a real broker byte for byte, once each, from any offset on."""

import json
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from connectors.errors import BrokerError, KafkaSettingsError
from connectors.kafka.client import open_consumer, open_producer
from connectors.kafka.places import Group, Offsets, locate, parse_place
from connectors.kafka.reader import Span, TopicReader
from connectors.kafka.settings import KafkaSettings
from tests.servers.kafka import read, write


def numbers(count: int) -> list[bytes | None]:
    return [str(number).encode() for number in range(count)]


def test_odd_bytes_come_back_as_they_were(kafka_settings: KafkaSettings, topic: str) -> None:
    values: list[bytes | None] = [
        b"",
        b"\0\0",
        b"\xff\xfe caf\xe9",
        "naïve 股票 🚀".encode(),
        random.Random(1).randbytes(900_000),
        None,
    ]
    write(kafka_settings, topic, values, key=b"\0key\xff")
    records = read(kafka_settings, topic)
    assert [record.value for record in records] == values
    assert {record.key for record in records} == {b"\0key\xff"}
    assert [record.offset for record in records] == list(range(len(values)))
    assert all(record.timestamp for record in records)


def test_uneven_and_empty_partitions_are_read_whole(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    write(kafka_settings, topic, numbers(3000), partition=0)
    write(kafka_settings, topic, numbers(2), partition=2)
    found: dict[int, list[bytes | None]] = {0: [], 1: [], 2: []}
    for record in read(kafka_settings, topic):
        found[record.partition].append(record.value)
    assert found == {0: numbers(3000), 1: [], 2: numbers(2)}


def test_a_reader_goes_on_at_its_position_in_the_middle(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    write(kafka_settings, topic, numbers(1000))
    first = []
    with TopicReader(kafka_settings, topic, {0: Span(0, 1000)}) as reader:
        for record in reader:
            first.append(record.value)
            if len(first) == 137:
                break
        position = reader.position(0)
    assert position == 137
    with TopicReader(kafka_settings, topic, {0: Span(position, 1000)}) as reader:
        rest = [record.value for record in reader]
        assert reader.done
    assert first + rest == numbers(1000)


def test_polling_gives_what_is_there_and_nothing_beyond_the_end(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    write(kafka_settings, topic, numbers(20))
    with TopicReader(kafka_settings, topic, {0: Span(5, 12)}) as reader:
        found: list[int] = []
        while not reader.done:
            found += [record.offset for record in reader.poll(5)]
        assert reader.poll(0) == []
        assert reader.position(0) == 12
    assert found == list(range(5, 12))


def test_a_reader_without_an_end_follows_what_is_written(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    with TopicReader(kafka_settings, topic, {0: Span(0, None)}) as reader:
        writing = threading.Thread(target=write, args=(kafka_settings, topic, numbers(3)))
        writing.start()
        iterator = iter(reader)
        assert [next(iterator).value for _ in range(3)] == numbers(3)
        assert not reader.done
        writing.join()


def test_aborted_transactions_are_not_read_and_their_offsets_do_not_stop_the_end(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    producer = open_producer(kafka_settings, transactional_id="test-transactions")
    producer.init_transactions()
    for value, commit in ((b"kept", True), (b"taken back", False), (b"kept too", True)):
        producer.begin_transaction()
        producer.send(topic, value, partition=0).get(timeout=30)
        (producer.commit_transaction if commit else producer.abort_transaction)()
    producer.close()
    located = locate(kafka_settings, topic, "earliest", "latest")
    assert located.spans[0] == Span(0, 6)  # three records, three marks
    with TopicReader(kafka_settings, topic, located.spans) as reader:
        assert [record.value for record in reader] == [b"kept", b"kept too"]
        assert reader.position(0) == 6


def test_places_are_found_by_offset_time_and_group(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    for second in (1000, 2000, 3000):
        write(kafka_settings, topic, [published(second)], timestamp_ms=second * 1000)
    consumer = open_consumer(kafka_settings, group_id="watchers")
    consumer.assign([TopicPartition(topic, 0)])
    consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(2, "", -1)})
    consumer.close()
    middle = datetime.fromtimestamp(1500, UTC)
    found = {
        place: locate(kafka_settings, topic, place, "latest").spans[0]
        for place in ("earliest", "latest", middle, Group("watchers"))
    }
    assert found == {
        "earliest": (0, 3),
        "latest": (3, 3),
        middle: (1, 3),
        Group("watchers"): (2, 3),
    }
    only = locate(kafka_settings, topic, Offsets({0: 1}), Offsets({0: 2, 1: 0}))
    assert only.spans == {0: Span(1, 2)}
    with pytest.raises(BrokerError, match="holds the offsets 0 to 3, and not 9"):
        locate(kafka_settings, topic, "earliest", Offsets({0: 9}))


@pytest.mark.parametrize("sent", [lambda second: second + 5, lambda _: 9000, lambda _: 10])
def test_a_time_is_event_time_whatever_the_records_say(
    sent: Callable[[int], int], kafka_settings: KafkaSettings, topic: str
) -> None:
    for second in (1000, 1500, 1400, 3000, 2000):
        stamp = sent(second) * 1000
        write(kafka_settings, topic, [published(second), b"{broken"], timestamp_ms=stamp)
    found = {
        second: locate(kafka_settings, topic, datetime.fromtimestamp(second, UTC), "latest")
        for second in (0, 1000, 1401, 1501, 3001)
    }
    starts = {second: one.spans[0].start for second, one in found.items()}
    assert starts == {0: 0, 1000: 0, 1401: 2, 1501: 6, 3001: 10}
    until = locate(kafka_settings, topic, "earliest", datetime.fromtimestamp(1501, UTC))
    assert until.spans == {0: Span(0, 6), 1: Span(0, 0), 2: Span(0, 0)}


def published(second: int) -> bytes:
    return json.dumps({"id": second, "created_at": second, "text": "news"}).encode()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("group:watchers", Group("watchers")),
        ("0:5,2:17", Offsets({0: 5, 2: 17})),
        ("2024-05-06T07:08:09Z", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
    ],
)
def test_a_place_is_read_as_it_is_written(text: str, place: object) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "soon", "group:", "0:", "0:x"])
def test_what_is_no_place_is_said(text: str) -> None:
    with pytest.raises(KafkaSettingsError, match="no place in a topic"):
        parse_place(text)


def test_offsets_that_are_gone_are_an_error_and_no_silence(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    write(kafka_settings, topic, numbers(3))
    with (
        TopicReader(kafka_settings, topic, {0: Span(500, 600)}) as reader,
        pytest.raises(BrokerError, match="does not hold the offset 500 of partition 0"),
    ):
        list(reader)


def test_an_end_that_never_comes_is_an_error_after_a_while(
    kafka_broker: object, kafka_settings: KafkaSettings, topic: str
) -> None:
    impatient = KafkaSettings(brokers=kafka_settings.brokers, stall_seconds=0.5)
    write(kafka_settings, topic, numbers(3))
    found = []
    with (
        TopicReader(impatient, topic, {0: Span(0, 4)}) as reader,
        pytest.raises(BrokerError, match=r"gave nothing for 0\.5 s at offset 3"),
    ):
        found.extend(record.value for record in reader)
    assert reader.position(0) == 3


def test_a_missing_topic_is_said(kafka_settings: KafkaSettings) -> None:
    with pytest.raises(BrokerError, match="has no topic 'nowhere'"):
        locate(kafka_settings, "nowhere", "earliest", "latest")
