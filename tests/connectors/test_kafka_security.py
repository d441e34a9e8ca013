"""TLS and SASL against a real broker; secrets show nowhere; refusals say what to do."""

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)

from connectors.errors import BrokerError, KafkaSettingsError
from connectors.kafka.places import locate
from connectors.kafka.reader import Span, TopicReader
from connectors.kafka.settings import (
    PASSWORD_VARIABLE,
    KafkaSettings,
    parse_address,
)
from connectors.kafka.sink import KafkaSink, Outgoing
from connectors.kafka.topics import describe_topic
from infra.kafka.broker import Broker
from tests.servers.kafka import PASSWORD, STRANGER, STRANGERS_PASSWORD, USER, write

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def allow(broker: Broker, topic: str, *operations: ACLOperation) -> None:
    """Lets USER do so with the topic."""
    client = KafkaAdminClient(bootstrap_servers=broker.address)
    pattern = ResourcePattern(ResourceType.TOPIC, topic)
    client.create_acls(
        [
            ACL(f"User:{USER}", "*", operation, ACLPermissionType.ALLOW, pattern)
            for operation in operations
        ]
    )
    client.close()


def sasl(broker: Broker, mechanism: str = "SCRAM-SHA-512", user: str = USER) -> KafkaSettings:
    return msgspec.convert(
        {
            "brokers": broker.sasl_address,
            "security": "SASL_PLAINTEXT",
            "mechanism": mechanism,
            "user": user,
            "connect_seconds": 2,
            "stall_seconds": 5,
        },
        KafkaSettings,
    )


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.WARNING, logger="kafka"):
        yield caplog


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_user_with_the_right_password_reads_and_writes_and_it_is_not_logged(
    mechanism: str,
    kafka_broker: Broker,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    logged: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    allow(kafka_broker, topic, ACLOperation.READ, ACLOperation.WRITE)
    settings = sasl(kafka_broker, mechanism)
    with KafkaSink(settings) as sink:
        sink.send(topic, Outgoing(b"key", b"value"))
    spans = locate(settings, topic, "earliest", "latest").spans
    with TopicReader(settings, topic, spans) as reader:
        assert [record.value for record in reader] == [b"value"]
        assert PASSWORD not in repr(reader.__dict__)
    assert PASSWORD not in logged.text
    assert PASSWORD not in repr(settings) + str(msgspec.to_builtins(settings, enc_hook=str))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_said_and_not_shown(
    mechanism: str,
    kafka_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    logged: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong-and-secret")
    with pytest.raises(BrokerError, match="does not let the user 'alice' in") as raised:
        describe_topic(sasl(kafka_broker, mechanism), "any")
    assert "wrong-and-secret" not in str(raised.value) + logged.text


def test_a_password_may_come_from_a_file(kafka_broker: Broker, topic: str, tmp_path: Path) -> None:
    allow(kafka_broker, topic, ACLOperation.DESCRIBE)
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    settings = msgspec.structs.replace(sasl(kafka_broker), password_file=file)
    assert describe_topic(settings, topic).partitions == (0, 1, 2)


def test_a_password_that_is_not_set_is_asked_for(kafka_broker: Broker) -> None:
    with pytest.raises(KafkaSettingsError, match=PASSWORD_VARIABLE):
        describe_topic(sasl(kafka_broker), "any")


def test_an_acl_that_hides_the_topic_is_named(
    kafka_broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, STRANGERS_PASSWORD)
    with pytest.raises(BrokerError, match=r"does not show .* to the user 'mallory'"):
        locate(sasl(kafka_broker, user=STRANGER), topic, "earliest", "latest")


def test_an_acl_that_shows_the_topic_but_forbids_reading_or_writing_is_named(
    kafka_broker: Broker,
    kafka_settings: KafkaSettings,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    allow(kafka_broker, topic, ACLOperation.DESCRIBE)
    write(kafka_settings, topic, [b"hidden"])
    settings = sasl(kafka_broker)
    with (
        TopicReader(settings, topic, {0: Span(0, 1)}) as reader,
        pytest.raises(BrokerError, match="refuses the user 'alice'"),
    ):
        list(reader)
    with KafkaSink(settings) as sink:
        sink.send(topic, Outgoing(b"key", b"value"))
        with pytest.raises(BrokerError, match="refuses the user 'alice'"):
            sink.flush()


def test_tls_needs_the_right_authority(kafka_broker: Broker, topic: str) -> None:
    secured = KafkaSettings(
        brokers=kafka_broker.tls_address, security="SSL", ca_file=kafka_broker.certificate
    )
    assert describe_topic(secured, topic).name == topic
    strange = msgspec.structs.replace(secured, ca_file=None, connect_seconds=2)
    with pytest.raises(BrokerError, match=r"TLS fails .*CERTIFICATE_VERIFY_FAILED"):
        describe_topic(strange, topic)


def test_a_tls_file_that_is_none_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    with pytest.raises(KafkaSettingsError, match=r"ca\.pem cannot be used"):
        describe_topic(KafkaSettings(security="SSL", ca_file=broken), "any")


def test_a_broker_that_is_not_there_or_speaks_otherwise_is_said(kafka_broker: Broker) -> None:
    nowhere = KafkaSettings(brokers="127.0.0.1:1", connect_seconds=1)
    with pytest.raises(BrokerError, match="cannot be reached: Connection refused"):
        describe_topic(nowhere, "any")
    other = KafkaSettings(brokers=kafka_broker.tls_address, connect_seconds=1)
    with pytest.raises(BrokerError, match="does not answer as Kafka over PLAINTEXT"):
        describe_topic(other, "any")


@pytest.mark.parametrize("brokers", ["", "localhost", "localhost:", "a:1,", "localhost:99999"])
def test_an_address_that_is_none_is_refused(brokers: str) -> None:
    with pytest.raises(KafkaSettingsError, match="HOST:PORT"):
        KafkaSettings(brokers=brokers)


def test_users_and_security_must_fit() -> None:
    with pytest.raises(KafkaSettingsError, match="needs a user"):
        KafkaSettings(security="SASL_SSL")
    with pytest.raises(KafkaSettingsError, match="knows none"):
        KafkaSettings(user="alice")


def test_the_address_of_a_topic_is_parsed() -> None:
    assert parse_address("kafka://a:1,[::1]:2/news.v1") == ("a:1,[::1]:2", "news.v1")
    for wrong in ("kafka://a:1", "kafka://a:1/", "kafka:///t", "kafka://a:1/a/b"):
        with pytest.raises(KafkaSettingsError):
            parse_address(wrong)
    with pytest.raises(KafkaSettingsError, match=PASSWORD_VARIABLE) as raised:
        parse_address("kafka://me:hunter2@a:1/t")
    assert "hunter2" not in str(raised.value)
