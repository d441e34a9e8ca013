"""The channels of a configuration, opened: their secrets read, their servers named."""

from collections.abc import Callable, Mapping
from threading import Lock

import msgspec

from alerting.channels.bounded import Bounded
from alerting.channels.channel import Channel, HeadChannel, Retry
from alerting.channels.secrets import checked_name
from alerting.channels.settings import (
    AlertmanagerSettings,
    ChannelSettings,
    ChatSettings,
    GrafanaSettings,
    KafkaTopicSettings,
    MailSettings,
    WebhookSettings,
)
from alerting.delivery import DeliverySettings
from alerting.heads import Head
from connectors.errors import ConnectorError
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.sink import KafkaSink, Outgoing
from pipelines.configuration import Configuration


def open_channels(
    settings: Mapping[str, ChannelSettings], delivery: DeliverySettings, kafka: KafkaSettings
) -> dict[str, Channel]:
    """The channels by their names; nothing is connected yet. Raises `ConfigurationError`."""
    return {
        # Half of the lease, so that no sending outlives it, and nobody else sends beside us.
        checked_name(name): Bounded(_opened(name, one, kafka).send, delivery.lease_seconds / 2)
        for name, one in settings.items()
    }


def open_head_channels(configuration: Configuration) -> dict[str, Callable[[Head], None]]:
    """Name -> what sends a head of the ledger, of the channels that `[heads]` names. Raises
    `ConfigurationError`."""
    opened = {
        name: _opened(name, configuration.channels[name], configuration.kafka)
        for name in configuration.heads.channels
    }
    seconds = configuration.delivery.lease_seconds / 2
    return {
        name: Bounded(channel.send_head, seconds).send
        for name, channel in opened.items()
        if isinstance(channel, HeadChannel)
    }


def _opened(name: str, settings: ChannelSettings, kafka: KafkaSettings) -> Channel:
    """Each kind is imported where it is wanted: some take half a second."""
    match settings:
        case WebhookSettings():
            from alerting.channels.webhook import Webhook

            return Webhook.opened(name, settings)
        case MailSettings():
            from alerting.channels.mail import Mail

            return Mail.opened(name, settings)
        case ChatSettings():
            from alerting.channels.chat import Chat

            return Chat.opened(name, settings)
        case AlertmanagerSettings():
            from alerting.channels.alertmanager import Alertmanager

            return Alertmanager.opened(name, settings)
        case GrafanaSettings():
            from alerting.channels.grafana import Grafana

            return Grafana.opened(name, settings)
        case KafkaTopicSettings():
            from alerting.channels.kafka import KafkaTopic

            patient = msgspec.structs.replace(kafka, stall_seconds=settings.timeout_seconds)
            return KafkaTopic(settings, _Publisher(patient))


class _Publisher:
    """One record at a time, each confirmed; after a failure it connects anew."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._sink: KafkaSink | None = None
        self._lock = Lock()

    def __call__(
        self, topic: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]
    ) -> None:
        with self._lock:
            try:
                if self._sink is None:
                    self._sink = KafkaSink(self._settings)
                self._sink.send(topic, Outgoing(key, value, headers))
                self._sink.flush()
            except ConnectorError as error:
                if self._sink is not None:
                    self._sink.close()
                    self._sink = None
                raise Retry("Kafka did not take it", str(error)) from None
