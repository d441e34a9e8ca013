"""Notices into a real Kafka."""

import json

import msgspec
import pytest

from alerting.channels.channel import Retry
from alerting.channels.settings import KafkaTopicSettings
from alerting.delivery import DeliverySettings
from connectors.kafka.settings import KafkaSettings
from pipelines.alerting.channels import open_channels
from tests.alerting.channels.notices import notice
from tests.servers.kafka import read
from tests.servers.postgresql import free_port


def channel(kafka: KafkaSettings, topic: str):
    settings = {"desk": KafkaTopicSettings(topic=topic, timeout_seconds=5.0)}
    return open_channels(settings, DeliverySettings(), kafka)["desk"]


def test_a_notice_is_a_record_by_its_alert_and_the_same_at_every_attempt(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    desk = channel(kafka_settings, topic)
    desk.send(notice())
    desk.send(notice())
    first, second = read(kafka_settings, topic)
    assert first.key == second.key == notice().alert.id.encode()
    assert first.value == second.value
    assert json.loads(first.value or b"")["id"] == notice().id
    assert dict(first.headers)["idempotency-key"] == notice().id.encode()


def test_a_topic_that_is_missing_is_tried_again_until_it_is_there(
    kafka_settings: KafkaSettings,
) -> None:
    desk = channel(kafka_settings, "no-such-topic")
    for _ in range(2):
        with pytest.raises(Retry, match="no-such-topic"):
            desk.send(notice())


def test_a_broker_that_is_away_is_tried_again() -> None:
    away = KafkaSettings(brokers=f"127.0.0.1:{free_port()}", connect_seconds=0.5)
    patient = msgspec.structs.replace(away, stall_seconds=1.0)
    with pytest.raises(Retry, match="Kafka did not take it"):
        channel(patient, "alerts").send(notice())
