"""What goes out to Kafka carries its id as its key, and is read back as it was."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from alerting.spike import Spike
from alerting.windows import WindowStats
from connectors.dead_letter import dead_letter
from connectors.kafka.settings import KafkaSettings, TopicNames
from connectors.kafka.sink import Outgoing
from connectors.kafka.topics import create_topic
from connectors.message import Message
from models.entities import Recogniser
from pipelines.configuration import TagSettings
from pipelines.outgoing import (
    Publisher,
    bucket_records,
    dead_letter_records,
    spike_records,
    tagged_records,
)
from pipelines.records import Tagged
from pipelines.tagging import tag_messages
from tests.servers.kafka import read

START = datetime(2014, 4, 16, 20, tzinfo=UTC)
SPIKE = Spike(
    id="5a",
    key="entity:BA",
    kind="negative_surge",
    phase="open",
    window_start=START,
    window_end=START + timedelta(minutes=15),
    scale_seconds=900,
    observed=9.5,
    expected=1.0,
    dispersion=0.2,
    log10_tail=-6.0,
    surprise=3.0,
    threshold=1.0,
    severity="high",
    negative_share=0.9,
    expected_negative_share=0.2,
    counts={"new_negative": 9},
    message_ids=("test:1",),
    configuration="c",
    model="m",
    final=True,
)

BUCKET = WindowStats(key="overall", start=START, seconds=60, messages=3, negative=3)


@pytest.fixture
def topics(kafka_settings: KafkaSettings) -> TopicNames:
    names = TopicNames(
        tagged="out-tagged", buckets="out-buckets", spikes="out-spikes", dead_letters="out-dlq"
    )
    for name in (names.tagged, names.buckets, names.spikes, names.dead_letters):
        create_topic(kafka_settings, name, 2)
    return names


def test_tagged_messages_spikes_and_dead_letters_reach_their_topics(
    kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    messages = [
        Message(id=f"test:{n}", source="test", published_at=START, text=f"$BA Boeing falls {n}")
        for n in range(3)
    ]
    tagger = TagSettings(cache=0).tagger()
    results = tag_messages(messages, tagger, Recogniser.default())
    tagged = [result for result in results if isinstance(result, Tagged)]
    letter = dead_letter(
        source="test", stage="tag", reason="model-failed", error="no", payload=b"\0"
    )
    publisher = Publisher(msgspec.structs.replace(kafka_settings, topics=topics))
    assert not publisher.publish(lambda names: tagged_records(names, tagged))
    assert not publisher.publish(lambda names: bucket_records(names, [BUCKET]))
    assert not publisher.publish(lambda names: spike_records(names, [SPIKE]))
    assert not publisher.publish(lambda names: dead_letter_records(names, [letter]))

    found = {record.key: record.value or b"" for record in read(kafka_settings, topics.tagged)}
    assert {key: msgspec.json.decode(value, type=Tagged) for key, value in found.items()} == {
        one.message.id.encode(): one for one in tagged
    }
    (bucket,) = read(kafka_settings, topics.buckets)
    assert msgspec.json.decode(bucket.key or b"")[1:3] == ["overall", 60]
    assert msgspec.json.decode(bucket.value or b"", type=WindowStats) == BUCKET
    (spike,) = read(kafka_settings, topics.spikes)
    assert spike.key == b"5a"
    assert msgspec.json.decode(spike.value or b"", type=Spike) == SPIKE
    (put_aside,) = read(kafka_settings, topics.dead_letters)
    assert (put_aside.key, put_aside.value) == (letter.id.encode(), b"\0")


def test_a_record_that_the_broker_will_not_take_comes_back_and_the_others_are_written(
    kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    records = [
        ("out-tagged", Outgoing(b"small", b"x")),
        ("out-tagged", Outgoing(b"large", b"x" * (5 << 20))),
        ("nowhere", Outgoing(b"lost", b"y")),
    ]
    publisher = Publisher(msgspec.structs.replace(kafka_settings, topics=topics))
    large, lost = publisher.publish(lambda _: records)
    assert "max.message.bytes" in large.error
    assert "no topic 'nowhere'" in lost.error
    assert (lost.stage, lost.payload) == ("publish", b"y")
    assert b"small" in {record.key for record in read(kafka_settings, "out-tagged")}


def test_nothing_is_written_where_nothing_is_asked_for() -> None:
    assert not Publisher(None).publish(lambda _: [("nowhere", Outgoing(b"k", b"v"))])
