"""Kafka: the notice as JSON into a topic, keyed by its alert: a reader has them in order."""

from collections.abc import Callable

from alerting import heads
from alerting.channels.notice import Notice, encoded
from alerting.channels.settings import KafkaTopicSettings
from alerting.heads import Head

Publish = Callable[[str, bytes, bytes, tuple[tuple[str, bytes], ...]], None]
"""Writes topic, key, value and headers, and returns when they are safe; raises `Retry`."""


class KafkaTopic:
    """One topic. A record may come twice, with the same header `idempotency-key`."""

    def __init__(self, settings: KafkaTopicSettings, publish: Publish) -> None:
        self._topic = settings.topic
        self._publish = publish

    def send(self, notice: Notice) -> None:
        """Raises `Retry`."""
        headers = (("idempotency-key", notice.id.encode()), ("schema", b"notice.v1"))
        self._publish(self._topic, notice.alert.id.encode(), encoded(notice), headers)

    def send_head(self, head: Head) -> None:
        """A head of the ledger, as a file of heads holds it. Raises `Retry`."""
        headers = (("idempotency-key", head.id.encode()), ("schema", b"head.v1"))
        self._publish(self._topic, b"head", heads.encoded(head), headers)
