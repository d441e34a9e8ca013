"""What a topic is: its id and partitions; and making one."""

from typing import NamedTuple

from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from connectors.errors import BrokerError
from connectors.kafka.client import admin, explanation
from connectors.kafka.settings import KafkaSettings, checked_topic

LARGEST_MESSAGE = 3 << 20
"""`max.message.bytes` of topics made here: a record at our limit with its key and headers fits."""

_NO_ERROR = 0
_UNKNOWN_TOPIC = 3
_NOT_AUTHORISED = 29


class Topic(NamedTuple):
    """`id` is the cluster's own and differs where a topic was deleted and made anew."""

    name: str
    id: str
    partitions: tuple[int, ...]


def describe_topic(settings: KafkaSettings, name: str) -> Topic:
    """The topic; raises BrokerError where it is missing, or hidden from us by an ACL."""
    with admin(settings) as client:
        (found,) = client.describe_topics([checked_topic(name)])
    code = found["error_code"]
    if code == _UNKNOWN_TOPIC:
        raise BrokerError(
            f"Kafka at {settings.brokers} has no topic {name!r}: check the name, or create it"
        )
    if code == _NOT_AUTHORISED:
        raise BrokerError(
            f"Kafka at {settings.brokers} does not show the topic {name!r} to {settings.who}: "
            "have the ACL granted (Describe, with Read or Write)"
        )
    if code != _NO_ERROR:
        raise BrokerError(f"Kafka at {settings.brokers} does not tell of {name!r}: error {code}")
    partitions = sorted(part["partition_index"] for part in found["partitions"])
    return Topic(name, str(found["topic_id"]), tuple(partitions))


def create_topic(settings: KafkaSettings, name: str, partitions: int) -> None:
    """Makes the topic unless it is there, as it is; raises BrokerError."""
    configs = {"max.message.bytes": str(LARGEST_MESSAGE)}
    topic = NewTopic(checked_topic(name), partitions, -1, topic_configs=configs)
    with admin(settings) as client:
        try:
            client.create_topics([topic])
            client.wait_for_topics([name])
        except TopicAlreadyExistsError:
            return
        except KafkaError as error:
            why = explanation(settings, error)
            raise BrokerError(f"the topic {name!r} could not be created: {why}") from error
