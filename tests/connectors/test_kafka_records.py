"""A record is a message or a dead letter with its original bytes; a sink keeps what it is told."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from connectors.dead_letter import DeadLetter, dead_letter
from connectors.errors import BrokerError
from connectors.kafka.batches import KafkaRecord
from connectors.kafka.records import RecordParser, dead_letter_record
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.sink import KafkaSink, Outgoing
from connectors.message import Message
from connectors.parsing import RECORD_LIMIT
from connectors.wire import encode_message
from tests.servers.kafka import read

AT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
MESSAGE = Message(id="feed:1", source="feed", published_at=AT, text="Boeing falls")


def record(value: bytes | None) -> KafkaRecord:
    return KafkaRecord("news", 2, 17, AT, (), None, value)


def test_a_message_keeps_its_id_and_gets_its_coordinates() -> None:
    found = RecordParser("news").parse(record(encode_message(MESSAGE)))
    assert isinstance(found, Message)
    assert (found.id, found.source, found.published_at) == ("feed:1", "feed", AT)
    assert (found.topic, found.partition, found.offset) == ("news", 2, 17)
    assert found.received_at == AT


def test_the_usual_names_of_fields_are_understood() -> None:
    value = {"created_at": "2024-01-02T03:04:05Z", "headline": "Oil falls", "id": 7}
    found = RecordParser("news").parse(record(json.dumps(value).encode()))
    assert isinstance(found, Message)
    assert (found.id, found.text, found.offset) == ("news:7", "Oil falls", 17)


def test_a_time_far_ahead_of_the_record_is_none() -> None:
    """It would make all that follow it late."""
    ahead = msgspec.structs.replace(MESSAGE, published_at=AT + timedelta(days=2))
    found = RecordParser("news").parse(record(encode_message(ahead)))
    assert isinstance(found, DeadLetter)
    assert found.reason == "from-the-future"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no-value"),
        (b"", "invalid-json"),
        (b"\0\xff", "invalid-json"),
        (b'{"text": "caf\xe9", "date": 1}', "wrong-encoding"),
        (b"[1]", "not-an-object"),
        (b'{"text": "no time"}', "missing-time"),
        (b" " * (RECORD_LIMIT + 1), "too-large"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_none_is_a_dead_letter_with_its_bytes(value: bytes | None, reason: str) -> None:
    found = RecordParser("news").parse(record(value))
    assert isinstance(found, DeadLetter)
    assert (found.reason, found.stage) == (reason, "parse")
    assert found.payload == (value or b"")[:RECORD_LIMIT]
    assert found.payload_size == len(value or b"")
    assert (found.topic, found.partition, found.offset) == ("news", 2, 17)


def test_a_dead_letter_goes_to_its_topic_with_its_bytes_and_the_reason(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    largest = b"\0\xff" * (RECORD_LIMIT // 2)
    letter = dead_letter(
        source="news",
        stage="parse",
        reason="invalid-json",
        error="partition 2, offset 17: not JSON – at all",
        payload=largest,
        topic="news",
        partition=2,
        offset=17,
    )
    with KafkaSink(kafka_settings) as sink:
        sink.send(topic, dead_letter_record(letter))
    (found,) = read(kafka_settings, topic)
    assert (found.key, found.value) == (letter.id.encode(), largest)
    told = {name: (value or b"").decode() for name, value in found.headers}
    assert told.pop("time")
    assert told == {
        "stage": "parse",
        "reason": "invalid-json",
        "error": letter.error,
        "source": "news",
        "topic": "news",
        "partition": "2",
        "offset": "17",
        "payload-size": str(RECORD_LIMIT),
    }


def test_the_same_key_goes_to_the_same_partition_and_all_is_confirmed(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    with KafkaSink(kafka_settings) as sink:
        for number in range(2000):
            sink.send(topic, Outgoing(f"key {number % 50}".encode(), f"{number}".encode()))
        sink.flush()
        assert sink.delivered == 2000
    found = read(kafka_settings, topic)
    assert sorted(int(one.value or b"") for one in found) == list(range(2000))
    assert len({(one.key, one.partition) for one in found}) == 50
    assert len({one.partition for one in found}) == 3


def test_more_than_the_buffer_holds_is_sent_all_the_same(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    with KafkaSink(kafka_settings) as sink:
        for number in range(30):
            sink.send(topic, Outgoing(b"key", bytes([number]) * 900_000))
    assert [one.value and one.value[0] for one in read(kafka_settings, topic)] == list(range(30))


def test_a_record_larger_than_the_topic_takes_is_named(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    with KafkaSink(kafka_settings) as sink:
        sink.send(topic, Outgoing(b"huge", b"x" * (4 << 20)))
        with pytest.raises(BrokerError, match=r"'huge' is larger than .* max\.message\.bytes"):
            sink.flush()


def test_a_topic_that_is_missing_is_said_before_anything_is_sent(
    kafka_settings: KafkaSettings,
) -> None:
    with KafkaSink(kafka_settings) as sink, pytest.raises(BrokerError, match="no topic 'nowhere'"):
        sink.send("nowhere", Outgoing(b"key", b"value"))
