"""Slack, Teams, PagerDuty and a hundred more, by the address that Apprise has for them.

These services know no idempotency key: after a break at the wrong moment they may show a notice
twice.
"""

import logging
import re
from urllib.parse import unquote

from apprise import Apprise, AppriseAsset, NotifyType
from apprise.common import NotifyFormat, PersistentStoreMode

from alerting.channels.channel import Retry
from alerting.channels.notice import Notice
from alerting.channels.secrets import needed
from alerting.channels.settings import ChatSettings
from alerting.channels.wording import plain, subject
from alerting.errors import ConfigurationError
from alerting.inert import one_line

_SAID = 200
_HIDDEN = 4  # characters from which a part of an address is taken for a secret
_SERIOUS = frozenset({"high", "critical"})

# Its log names whole addresses; what it says of a delivery is kept with that, masked.
_its_log = logging.getLogger("apprise")
_its_log.addHandler(logging.NullHandler())
_its_log.propagate = False


class Chat:
    """One address of Apprise."""

    def __init__(self, service: Apprise, secrets: frozenset[str]) -> None:
        self._service = service
        self._name = str(service[0].service_name)
        self._secrets = secrets

    @classmethod
    def opened(cls, name: str, settings: ChatSettings) -> "Chat":
        """Raises `ConfigurationError`, never naming the address."""
        url = needed(name, "url", settings.url_file)
        asset = AppriseAsset(
            app_id="Foreshock",
            app_desc="Foreshock",
            async_mode=False,
            http_redirects=False,
            interpret_emojis=False,
            pgp_autogen=False,
            pem_autogen=False,
            storage_mode=PersistentStoreMode.MEMORY,
            service_timeout=settings.timeout_seconds,
        )
        service = Apprise(asset=asset)
        if not service.add(url) or len(service) != 1:
            raise ConfigurationError(
                f"the url of the channel {name!r} is not one address that Apprise knows: see "
                "https://appriseit.com for how they are written"
            )
        return cls(service, _parts(url))

    def send(self, notice: Notice) -> None:
        """Raises `Retry`: what a service says by an error, Apprise does not tell apart."""
        result = self._service.notify(
            body=plain(notice),
            title=subject(notice),
            notify_type=_type(notice),
            body_format=NotifyFormat.TEXT,
            log_level=30,
        )
        if not result:
            said = " ".join(entry.message for entry in result.logs())
            raise Retry(f"{self._name} did not take it", one_line(self._masked(said), _SAID))

    def _masked(self, said: str) -> str:
        for part in sorted(self._secrets, key=len, reverse=True):
            said = said.replace(part, "***")
        return said


def _type(notice: Notice) -> NotifyType:
    if notice.alert.resolved_at is not None:
        return NotifyType.SUCCESS
    return NotifyType.FAILURE if notice.alert.severity in _SERIOUS else NotifyType.WARNING


def _parts(url: str) -> frozenset[str]:
    """All of the address that may be a secret: whatever is not its scheme."""
    parts = re.split(r"[/:@?&=]+", url.partition("://")[2])
    return frozenset(
        form for part in parts for form in (part, unquote(part)) if len(form) >= _HIDDEN
    )
