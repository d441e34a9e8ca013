"""A webhook: the notice as JSON to an address, signed, with its id as the idempotency key."""

from collections.abc import Callable
from datetime import UTC, datetime

from alerting import heads
from alerting.channels.http import Endpoint
from alerting.channels.notice import Notice, encoded
from alerting.channels.secrets import needed, secret
from alerting.channels.settings import WebhookSettings, checked_url
from alerting.channels.signature import key_of, signed
from alerting.errors import ConfigurationError
from alerting.heads import Head


class Webhook:
    """Sends to one address. The time of sending, and so the signature, is new at every attempt."""

    def __init__(
        self, endpoint: Endpoint, keys: list[bytes], clock: Callable[[], datetime]
    ) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._clock = clock

    @classmethod
    def opened(cls, name: str, settings: WebhookSettings) -> "Webhook":
        """Raises `ConfigurationError` where a secret is missing."""
        url = secret(name, "url", settings.url_file) or settings.url
        if url is None:
            raise ConfigurationError(
                f"the channel {name!r} has no url: set it in [channels.{name}]"
            )
        url = checked_url(url, f"the url of the channel {name!r}")
        keys = [key_of(line) for line in needed(name, "secret", settings.secret_file).splitlines()]
        endpoint = Endpoint(url, settings.timeout_seconds, settings.ca_file)
        return cls(endpoint, keys, lambda: datetime.now(UTC))

    def send(self, notice: Notice) -> None:
        """Raises `Retry` or `Refused`."""
        self._post(notice.id, encoded(notice))

    def send_head(self, head: Head) -> None:
        """A head of the ledger, as a file of heads holds it. Raises `Retry` or `Refused`."""
        self._post(head.id, heads.encoded(head))

    def _post(self, name: str, body: bytes) -> None:
        headers = signed(self._keys, name, body, self._clock())
        key = {"Idempotency-Key": f'"{name}"', "Content-Type": "application/json"}
        self._endpoint.post(body, headers | key)
